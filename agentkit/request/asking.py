"""What a request asks for as a whole: whether it is a question, and of what sort (pure, English)."""

from __future__ import annotations

import re

from agentkit.request.parts import ORDERS

_READ_CHARACTERS = 2000
"""Of a longer request the beginning is looked at."""
_POLITELY = (
    r"(?:(?:please|hi|hello|hey|ok|okay|so|and|but|now|then|well)\b[\s,.:!]*|(?:tell|remind|show) me )*"
)
_ASKS = re.compile(
    rf"\W*{_POLITELY}(?:(?:in|on|at|for|to|by|from|until|up to|since) )*"
    r"(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|do|does|did|can|could|might|must|should|shall"
    r"|(?:may|will)(?= (?:i|you|we|he|she|it|they|there|one|the|this|that|these|those|my|your|our|his|her|their|an?)\b)"
    r"|would|has|have|had|tell me|remind me|give me|look up|find out|i wonder|i(?:'d like| want| need) to know)\b",
    re.IGNORECASE,
)
_ORDER_AS_QUESTION = re.compile(
    rf"\W*{_POLITELY}(?:can|could|would|will) you (?:please |kindly |just )?"
    r"(?!(?:tell|show|give|explain|help|see|name|answer|describe|have|recommend|suggest|predict|estimate)\b)"
    rf"(?={ORDERS}\b)",
    re.IGNORECASE,
)
"""`Can you send a mail to Ole?` wants it sent."""
_LEADS_TO = re.compile(r"[:,;.!?]\s+|\band\s+")
_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z\"])")
_OF_OWN = re.compile(
    rf"\W*{_POLITELY}"
    r"(?:who|whose|when|where|which|what|how (?:much|many|old|long|often|far|tall|high|big|heavy))\b"
    r"(?!.*\b(?:should|could|would|can|might|best|mean|means)\b).*\b(?:my|our|mine|ours)\b",
    re.IGNORECASE | re.DOTALL,
)
_CONTACT = re.compile(
    rf"\W*{_POLITELY}(?:whom? (?:should|do|can|could|must|may) (?:i|we)"
    r" (?:call|phone|ring|contact|write|e-?mail|ask|reach|turn to)\b"
    r"|(?:what|which)(?:'s| is| are) (?:the |my |our )?(?:[\w']+ ){0,3}?"
    r"(?:(?:tele)?phone number|e-?mail address|hotline)s?(?: (?:of|for)\b.*|\W*)$)",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(
    r"\s*(?!(?:can|could|would|will) you\b|do you (?:know|remember|happen)\b)"
    r"(?:is|are|am|was|were|do|does|did|can|could|may|might|must|should|shall|will|would|has|have|had)\b",
    re.IGNORECASE,
)
_TEXTS = r"(?:notes?|documents?|files?|papers?)"
_MINE = r"(?:of )?(?:my|our|the|these|those)?"
_TOPIC = re.compile(
    rf"\W*{_POLITELY}(?:(?:can|could|would|will) you (?:please )?)?(?:"
    r"what(?:'s| is| are| do| does| did| do (?:i|we) have| have (?:i|we))?(?: written| there)?"
    rf" (?:in |among )?(?:all )?(?:my|our|the) {_TEXTS} (?:say |tell me |tell |have |hold |contain )?(?:about|on)"
    rf"|(?:which|what) {_MINE} ?{_TEXTS} (?:mention|name|talk about|speak of|deal with|are about|say anything about"
    r"|tell (?:me )?(?:about|of)|hold anything (?:about|on))"
    rf"|(?:where in|in which(?: of)?) {_MINE} ?{_TEXTS} (?:is|are)"
    rf"|(?:is|are) there (?:anything|something|any {_TEXTS}) (?:about|on|of)"
    rf"|do (?:my|our|the|any(?: of (?:my|our|the))?) {_TEXTS} (?:mention|name|say anything about|speak of|talk about)"
    rf"|find (?:me )?(?:all |every )?{_MINE} ?{_TEXTS} (?:about|on)"
    r"|what do you know about"
    r"|summari[sz]e|sum up|give me (?:a|the) (?:short )?summary of"
    r")\s+(?P<topic>(?!(?:it|this|that|them|these|those|what|how|why)\b)[^\s:][^:\n]*?)"
    rf"(?: in {_MINE} ?{_TEXTS})?[\s?.!]*$",
    re.IGNORECASE | re.DOTALL,
)
_NAMES_TEXTS = re.compile(
    rf"\b{_TEXTS}\b|\bwhat do you know about\b|\W*{_POLITELY}who (?:is|are|was|were)\b", re.IGNORECASE
)
_IS_THERE = re.compile(rf"\W*{_POLITELY}(?:is|are) there\b", re.IGNORECASE)
_CONTENTS = re.compile(
    rf"\W*{_POLITELY}(?:what (?:does|do) (?:my|our|the) (?P<told>[\w' -]+?) (?:say|hold|contain|tell(?: me)?)"
    r"|(?:what(?:'s| is| are)? (?:on|in|written (?:on|in))|(?:show|read|list)(?: me| out)?(?: all)?(?: of)?|open"
    r"|what(?:'s| is) the text of)\s+(?:(?:my|our|the)\s+)?(?P<name>[\w' -]+?))[\s?.!]*$",
    re.IGNORECASE,
)
_WHO_IS = re.compile(rf"\W*{_POLITELY}who (?:is|are|was|were) (?-i:[A-Z])[\w' -]+\W*$", re.IGNORECASE)
_TELLS_OF_SELF = re.compile(
    rf"\W*{_POLITELY}i\b(?!(?:'d like| would like|'d love| would love| want| need) (?:you |to\b|an?\b))",
    re.IGNORECASE,
)
_STATES = re.compile(
    rf"\W*{_POLITELY}"
    r"(?:i (?:have got|live|work|study|speak|drive|own|prefer|like|was born)\b|i've got\b"
    r"|i have\b(?! to\b| an? (?:\w+ )?(?:question|problem|request|idea|favou?r)\b)"
    r"|(?:i'm|i am) (?:an?|the|from|called|named|allergic|vegan|vegetarian|married|\d+)\b"
    r"|(?:my|our) (?:[\w'-]+ ){1,4}?"
    r"(?:is|are|was|were|has|have|lives?|works?|likes?|plays?|speaks?|studies|drives?|comes?|starts?)\b)",
    re.IGNORECASE,
)
_ORDERS_TOO = re.compile(
    r"[,;.:!]\s+(?:and |so |then |but )*"
    r"(?:please\b|can\b|could\b|let's\b|[a-z]+ (?:me|us|my|our|it|that|this|the|an?)\b)"
    r"|\b(?:please|so that|need|want|do i|can i|should i)\b"
    r"|\b(?!(?:for|to|with|of|by|and|than|like) )[a-z]+ (?:me|us)\b"
    r"|\band [a-z]+ it\b|[,;]\s*(?:who|what|when|where|why|how|which)\b(?! (?:is|are|was|were)\b)"
    r"|\b(?:who|what|when|where|why|how|which) (?:do|does|can|should|to)\b",
    re.IGNORECASE,
)
_THING = (
    r"(?:(?:the|an?|my|our|all|it|this|that|these|those|every\w*|him|her|them)\b|\d|(?-i:[A-Z])|[\w/-]+\.\w)"
)
_CHANGES = re.compile(
    rf"\W*{_POLITELY}(?:(?:can|could|would|will) you (?:please )?)?(?:"
    r"(?:delete|erase|rename|move|e-?mail|mail|upload|download|install|uninstall|pay|phone|ring|unlock|restart|reboot"
    rf"|(?:turn|switch) (?:on|off|up|down))\s+{_THING}"
    r"|(?:order|book)(?: me| us)?\s+(?:an?|some|two|three|four|\d+ [a-z])\b|buy \w"
    r"|(?:send|forward)\s+(?!(?:me|us)\b).*\b(?:e-?mail|mail|message|letter|sms|invitation|to (?-i:[A-Z]))"
    r"|(?:remind|wake) me (?:(?:to|up|tomorrow|tonight)\b|(?:at|in|on|about) (?:\d|an? |half|noon|midnight|\w+day\b))"
    r"|set (?:an?|the|my) (?:alarm|timer|reminder)\b)",
    re.IGNORECASE,
)
_ON_TEXT = re.compile(
    r"[:\n]|\b(?:python|shell|terminal|bash|command|code|sentence|word|list)\b", re.IGNORECASE
)
"""What is to be changed stands in the request, or a program is to do it."""
_CURRENCY = r"(?:euros?|dollars?|pounds?|francs?|yen|eur|usd|gbp|chf|jpy)"
_OF_TODAY = re.compile(
    rf"\W*{_POLITELY}(?!.*(?:\w\.\w|\brate\b.*\d|\bat \d))(?:"
    r"(?:(?:what|how)(?:'s| is| are| will)(?: be)? (?:the )?(?:latest |current |today's |tomorrow's )?"
    r"(?:weather|weather forecast|forecast|news|headlines|exchange rate)(?: be)?(?: like)?"
    r"|will it (?:rain|snow|be (?:raining|sunny|cold|warm|hot))|is it (?:raining|snowing))"
    r"(?: (?:in|for|at|on|from|of|today|tonight|tomorrow|now|right now|this|outside|here)\b.*)?\W*$"
    r"|(?:what(?:'s| is| are)|how (?:much|many)|convert)\b.*"
    rf"\b{_CURRENCY} (?:in|to|into|are in) (?:us )?{_CURRENCY}\b)",
    re.IGNORECASE,
)
_WHAT_IT_CAN = re.compile(
    rf"\W*{_POLITELY}(?:"
    r"what (?:can|could|do|are) (?:you|u) (?:do|able to do|capable of)(?: for me)?"
    r"|(?:what|which) (?:tools?|functions?|abilities|skills|commands)"
    r" (?:do you have|can you use|have you got|are there)"
    r"|(?:which|what) (?:things|tasks|kinds? of things) (?:can you do|do you do)"
    r"|(?:how|what) can you help(?: me)?(?: with)?|what are your (?:tools|skills|abilities|capabilities|functions)"
    r"|list (?:all )?your (?:tools|skills|abilities|capabilities|functions)|help)\W*$",
    re.IGNORECASE,
)
_MOST_STATED = 30
_TOPIC_CHARACTERS = 300
_OWNED = re.compile(r"\b(?:my|our)\s+((?:[\w'-]+\s*){1,3})", re.IGNORECASE)
_SAID_OF_IT = frozenset(
    "called named cost costs weigh weighs live lives work works born due bought".split()  # noqa: SIM905 - readable
)
"""What follows a thing without being part of its name."""


def asks(request: str) -> bool:
    """Return whether `request` asks something, rather than to have something done."""
    begun = request.strip()
    return begun.endswith("?") or _ASKS.match(begun[:_READ_CHARACTERS]) is not None


def question_in(request: str) -> str:
    """Return the sentence with which `request` asks something, from there on where it asks, or nothing.

    `how long is the quay` of `harbour.txt: how long is the quay`.
    """
    begun = request.strip()[:_READ_CHARACTERS]
    if ordered := _ORDER_AS_QUESTION.match(begun):
        begun = begun[ordered.end() :].rstrip("? ")
    for start in (0, *(found.end() for found in _LEADS_TO.finditer(begun))):
        if _ASKS.match(begun, start):
            return _SENTENCE_END.split(begun[start:], maxsplit=1)[0]
    return begun if begun.endswith("?") else ""


def asks_of_own(request: str) -> bool:
    """Return whether `request` asks for a fact about what is the user's own, or whom to call: no model knows it."""
    begun = request[:_READ_CHARACTERS]
    return _OF_OWN.match(begun) is not None or _CONTACT.match(begun) is not None


def tells_of_self(request: str) -> bool:
    """Return whether `request` says something of its speaker, in place of what is to be done: `I forgot my PIN`."""
    return _TELLS_OF_SELF.match(request[:_READ_CHARACTERS]) is not None


def states(request: str) -> bool:
    """Return whether `request` states a fact about its speaker and wants nothing: `My sister lives in Bergen`."""
    is_short = len(request.split()) <= _MOST_STATED
    return (
        is_short and _STATES.match(request) is not None and not (asks(request) or _ORDERS_TOO.search(request))
    )


def orders_a_change(request: str) -> bool:
    """Return whether `request` wants something done to the world, which nothing that only reads can: `Rename a.txt`."""
    begun = request[:_READ_CHARACTERS]
    return _CHANGES.match(begun) is not None and not _ON_TEXT.search(begun.strip())


def asks_of_today(request: str) -> bool:
    """Return whether `request` asks how the world is just now, which only the network could tell: `the weather`."""
    return _OF_TODAY.match(request[:_READ_CHARACTERS]) is not None


def asks_what_it_can(request: str) -> bool:
    """Return whether `request` asks what the assistant can do: `What can you do?`, `help`."""
    return len(request) <= _READ_CHARACTERS and _WHAT_IT_CAN.match(request) is not None


def contents(request: str) -> str:
    """Return the name of the text of which `request` wants to see what it holds, or nothing.

    `shopping list` of `What is on my shopping list?`.
    """
    found = _CONTENTS.match(request) if len(request) <= _TOPIC_CHARACTERS else None
    return (found["told"] or found["name"]) if found else ""


def is_yes_or_no(question: str) -> bool:
    """Return whether `question` can be answered with yes or no, as far as its first word tells."""
    return _YES_OR_NO.match(question) is not None


def topic(request: str) -> str:
    """Return what it is about which `request` asks for all that is written, or nothing where it asks for one thing.

    `the boiler` of `What do my notes say about the boiler?` and of `Summarise the boiler`; who somebody is, is asked so
    as well.
    """
    begun = request[:_READ_CHARACTERS]
    if _WHO_IS.match(begun):
        return begun
    found = _TOPIC.match(request) if len(request) <= _TOPIC_CHARACTERS else None
    is_of_texts = not _IS_THERE.match(request) or names_texts(request)
    return found["topic"] if found and is_of_texts else ""


def names_texts(request: str) -> bool:
    """Return whether `request` speaks of what is written, or of who somebody is: nothing else could tell it."""
    return _NAMES_TEXTS.search(request[:_READ_CHARACTERS]) is not None


def owned(request: str) -> str:
    """Return the words for what a request says is the user's own, or nothing: `dog` of `what is my dog called`."""
    found = _OWNED.search(request[:_READ_CHARACTERS])
    return " ".join(word for word in found[1].split() if word.lower() not in _SAID_OF_IT) if found else ""
