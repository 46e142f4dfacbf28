"""A request that leaves out what the one before it said: `and of 120?` behind `what is 17% of 89?` (pure, English).

Not covered: what takes the place of an object (`and cream?` behind `do we have to buy milk?`): nothing tells which.
"""

from __future__ import annotations

import re

from agentkit.request.dates import WEEKDAYS

_PREPOSITIONS = r"of|for|in|at|on|from|to|with|by|into|after|before|between"
_LEADS = r"(?:and|or|then|(?:and )?(?:what|how) about|(?:and )?(?:the )?same (?:again )?(?=for|with|in|of))"
_SHORT = re.compile(
    rf"\W*(?:{_LEADS}\s+(?:(?P<word>{_PREPOSITIONS})\s+)?|(?P<alone>{_PREPOSITIONS})\s+(?=.*\?\s*$))(?P<rest>\S.{{0,40}}?)\s*[?.!]*\s*",
    re.IGNORECASE,
)
_MOST_WORDS = 4
_NUMBER = r"(?<![\w.,])\d+(?:[.,]\d+)*%?(?!\w)"
_DAY = rf"\b(?:today|tonight|tomorrow|yesterday|{'|'.join(WEEKDAYS)})\b"
_INSIDE = r"(?<=[a-z,] )"
_NAME = r"(?![A-Z][a-z]+day\b)[A-Z][\w-]*(?: [A-Z][\w-]*)*(?:'s\b)?"
_ARTICLE = r"(?:the|my|our|your|an?)\s+"
_THING = rf"(?:{_ARTICLE})?(?:[a-z][\w-]*\s+)??[a-z][\w-]*"
_SUBJECT = (
    rf"\b(?:(?:do|does|did|can|will)\s+(?P<does>{_THING})"
    r"(?=\s+[a-z]+(?:\s+(?:an?|the|per|each|every|in|on|at|for|to|from|by)\b[^?]*)?\s*[?.!]*\s*$)"
    rf"|(?:is|are|was|were)\s+(?P<is>{_THING})(?=\s*[?.!]*\s*$))"
)
"""`how much do (yachts) pay a night?`, `how much is (the rent)?`"""
_LEADS_ON = re.compile(r"\W*(?:then|or)\b", re.IGNORECASE)
_CHARACTERS = 500
"""Nobody leaves something out of a longer request."""
_SAYS_MORE = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|could|will|would|should|have|has|had|i|you|me|it|that|this|them|thanks?|please"
    r"|what|which|who|when|where|why|how|also|not|now|then|later|again|so|else|more|yes|no|ok|okay)\b",
    re.IGNORECASE,
)
"""A sentence of its own, or it points back."""


def whole(request: str, before: str) -> str:
    """Return `request` with what it leaves out of the one `before` it, or as it stands.

    A phrase takes the place of the last one with the same preposition; a number, a day or a name that of the last one;
    anything else that of the subject.
    """
    found = _SHORT.fullmatch(request) if len(request) <= _CHARACTERS >= len(before) else None
    if found is None or len(found["rest"].split()) > _MOST_WORDS or _SAYS_MORE.search(found["rest"]):
        return request
    rest, word = found["rest"], found["word"] or found["alone"]
    if word:
        phrase = (
            rf"\b{word}\s+(?P<said>(?:[^?.!,;]|[.,](?=\d))+?)(?=\s+(?:{_PREPOSITIONS})\b|[?.!,;](?!\d)|\s*$)"
        )
        last = _last(phrase, before, re.IGNORECASE)
        if last is None:
            return request
        numbers = list(re.finditer(_NUMBER, last["said"]))
        start, end = last.span("said")
        if re.fullmatch(_NUMBER, rest) and len(numbers) == 1:  # its unit stays
            start, end = start + numbers[0].start(), start + numbers[0].end()
        return before[:start] + rest + before[end:]
    for like, flags, ahead in ((_NUMBER, 0, ""), (_DAY, re.IGNORECASE, ""), (_NAME, 0, _INSIDE)):
        if re.fullmatch(like, rest, flags) and (last := _last(ahead + like, before, flags)):
            return before[: last.start()] + rest + before[last.end() :]
    is_asked = re.match(_ARTICLE, rest) or (request.rstrip().endswith("?") and not _LEADS_ON.match(request))
    is_thing = is_asked and re.fullmatch(_THING, rest) and not re.fullmatch(_DAY, rest)
    if is_thing and (last := _last(_SUBJECT, before, re.IGNORECASE)):
        start, end = last.span("does" if last["does"] else "is")
        return before[:start] + rest + before[end:]
    return request


def _last(pattern: str, text: str, flags: int) -> re.Match[str] | None:
    found = list(re.finditer(pattern, text, flags))
    return found[-1] if found else None
