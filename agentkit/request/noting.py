"""What a request wants kept, where it says so in so many words (pure).

"Save my locker code, which is 1234.", "Note to self: the bins go out on Tuesday", "My flight is at nine. Don't forget
that." A clause that is made of nothing but the words in which people ask for this is taken off at either end, and what
is left is the fact, word for word. Whatever asks or orders something else, too, is left to the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ASKING_WORDS = """
    a about add after again ah all also always an and another any anything appreciate are as ask asking at away
    back bad be bear because before behalf book brain but by can can't case chat commit could counting day dear
    detail do don't dont down else entry ever fact facts favor favour file following for forever forget
    forgetful forgetting forgot from future fyi get glad good grateful great hand handy hang happy has have head
    helpful here here's hereby hey hi hold i i'd i'll i'm if important in inform information into is it it's
    item jot just keep keeping kept kind kindly know later let like line list listen little log long look
    looking lose made make making matter may me memo memorise memorize memory mental might mind moment more must
    my myself need never new next nice not note notebook noted notes nothing noting now of off oh ok okay on one
    other ought our out own personal piece please pls plz poor possible put quick quickly ready record recording
    reference relying rember remeber remember remembered remembering remmeber retain right rmbr safe sake save
    saving self should sieve since slip slips so some something sometime somewhere soon sorry storage store
    storing sure take tell telling tend term terrible thank thanks that that's the them there there's these they
    thing things this those thx till time to today tomorrow too track tuck u until up update us useful very want
    way we week well will wish within won't worth would write writing you you'd you'll your yours
"""
_WORDS = frozenset(_ASKING_WORDS.split())
"""All that a clause may be made of which only asks to keep something."""
_COURTESY = re.compile(
    r"(?:and |oh |so )?(?:please|pls|thanks|thank you|thx|for me|ok|okay|right|well|hi|hey|hello|listen|oh|also|"
    r"will you|would you|can you|could you|got (?:that|it)|did you get (?:that|it)|by the way|one more thing)"
    r"(?: so much| a lot| then| there| again|,? please| for me| in advance)?",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"\b(?:rememb?er(?:ed|ing)?|remm?e?ber|rmbr|memori[sz]e|memory|memo|note|noted|noting|retain|jot|fyi|slips?"
    r"|(?:keep|bear|have) .*in mind|(?:into|in) your head|take (?:a |this )?note|something to keep"
    r"|(?:sav(?:e|ing)|stor(?:e|ing)|keep(?:ing)?|look after|hold on to|hang on to)\b.*"
    r"\b(?:this|that|it|following|these)"
    r"|(?:log|record) (?:this|that|the following) fact|(?:put|write|note|take|tuck|file|jot) .*(?:down|away|aside)"
    r"|for (?:later|the future|next time|the record|(?:future|your|my) (?:reference|information))"
    r"|need (?:this|that|it) (?:later|again|soon|some day)|ask you (?:about |for )?(?:this|that|it)|in case i ask"
    r"|you (?:should|must|have to|need to|ought to|to) know|so you know|inform you"
    r"|forget|lose|forgetting|forgot)\b"
    r"|^(?:save|store|keep)$",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:\w+n't|dont|not|never|nothing|no)\b", re.IGNORECASE)
_LOSES = re.compile(r"\b(?:forget|lose|slips?|forgetting|forgot)\b", re.IGNORECASE)
_MAY_LOSE = re.compile(r"\b(?:i|i'll|before|let)\b", re.IGNORECASE)
"""Who says that he might forget it, or before he does, does not say that it is to be forgotten."""
_CLAUSE_END = re.compile(
    r"(?<![.,;:!?])[.,;:!?]++(?=\s|$)|\s[-\u2013\u2014]+(?=\s)|\s<?-+>?\s|\n|\s(?=(?:pls|plz|please|thx|thanks)[\s.!]*$)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_THAT = re.compile(r"\bthat\b(?!,)", re.IGNORECASE)
_LONGEST = 30
_EDGES = " \t\n,;:-\u2013\u2014<>"

_DIRECT = re.compile(
    r"(?P<lead>(?:[\w']+ ){0,6}?)(?:"
    r"(?:remember|remeber|remmeber|rember|rmbr)\s+(?!(?:when|how|what|who|where|if|the time)\b)(?P<any>\S.*)|"
    r"(?:don't|dont|do not|never) forget\s+(?!(?:to|about|when|how|what|who|where|if)\b)(?P<lost>\S.*)|"
    r"(?:save|store|record|keep|note(?: down)?|(?:write|jot|put) down|memori[sz]e)\s+"
    r"(?P<said>(?:my|our|his|her|their|the|[A-Z][\w-]*'s)\b.*))",
    re.IGNORECASE | re.DOTALL,
)
"""What is to be kept follows the verb; of a verb that has other meanings, too, it has to say what something is."""
_SPELT_OUT = re.compile(
    r"(?P<lead>(?:[\w']+ ){0,9}?(?:remember|keep|save|store|note(?: down)?|(?:write|jot) down|memori[sz]e)\s+)"
    r"(?P<fact>(?:my|our|his|her|their|the)\b[^.?!]{1,100}[.?!]+ (?:it|that)(?:'s| is| was)\b.*)",
    re.IGNORECASE | re.DOTALL,
)
"""Two sentences: what is to be kept, and what it is."""
_SAYS = re.compile(
    r"(?=.*\d)(?!.*\w\.[a-z])"
    r"(?:(?!\b(?:while|until|till|when|whenever|if|unless|because|after|before|that|who)\b).)*(?:\b(?:is|are|was|were)\b|[:=])",
    re.DOTALL,
)
"""Something is so and so, and has a number; a file is not named."""
_FOR_HIMSELF = re.compile(r"\bi(?:'d like| want| need| have| must| should| ought)?(?: to)? $", re.IGNORECASE)
"""`I need to remember the name of that actor` says what the speaker has to do."""
_SELF = re.compile(
    r"\b(?:i|we|they|he|she|do you|did you)(?: can| could| do| did| still| also| always| will)*"
    r" (?:know|remember|save|store|keep)\b",
    re.IGNORECASE,
)
"""Says what somebody keeps, and does not ask for it."""
_POINTS = re.compile(r"(?:this|that|it|them|him|her|these|those|me|down|us)(?: \w+)?", re.IGNORECASE)
_WANTS = (
    r"(?:please|(?:can|could|will|would) you|suggest|set|tell|give|show|remind|write|translate|calculate|compute"
    r"|summari[sz]e|explain|draft)\b"
)
_ORDERS = (
    r"(?:add|answer|book|build|buy|check|compare|convert|copy|count|create|delete|describe|draw|enter|fetch|file|find|generate|get"
    r"|help|list|log|look|make|move|open|order|plan|play|plot|put|read|record|recommend|rename|run|search|send|sort|start|turn|use)\b(?!-)"
)
_ASKS = re.compile(
    rf"^(?:{_WANTS}|{_ORDERS}|(?:what|who|which|when|where|why|how|do|does|did|is|are)\b|thanks?\b)"
    rf"|(?:[,;.:!]|\b(?:and|then)) (?:and |then |also )?{_WANTS}|[.;!] (?:and |then |also )?{_ORDERS}|\?",
    re.IGNORECASE,
)
_MAY_ASK = re.compile(
    r"(?:can|could|would|will|may|is it possible)\b(?!.* that (?:time|day|night)\b)", re.IGNORECASE
)
_SECRET = re.compile(r"(?=\S*\d)(?=\S*[^\W\d])\S+$")
"""To a word of letters and digits at the end, as passwords are, a `!` may belong."""


@dataclass(frozen=True, slots=True)
class _Clause:
    """A piece of a request, up to a mark that ends it."""

    start: int
    after: int
    """Behind the mark."""
    text: str


def fact_to_keep(request: str) -> str | None:
    """Return what `request` wants kept, in its own words; `None` where it does not say so plainly.

    Args:
        request: What the user said, of any length.
    """
    text = request.replace("\u2019", "'")
    clauses = _clauses(text)
    return _spelt_out(request, text, clauses) or _told(request, text, clauses)


def refuses_to_keep(request: str) -> bool:
    """Return whether a clause of `request` says in so many words that something is not to be kept."""
    clauses = _clauses(request.replace("\u2019", "'"))
    return any(_asks_to_keep(each.text) and _is_refusal(each.text) for each in clauses)


def _spelt_out(request: str, text: str, clauses: Sequence[_Clause]) -> str | None:
    """Return the fact of two sentences: "Could you keep my locker number? It's 88."."""
    for clause in clauses[:_LONGEST]:
        found = _SPELT_OUT.match(text, clause.start)
        if found and _is_made_of_words(found["lead"]) and not _is_refusal(found["lead"]):
            what, is_so = re.split(r"[.?!]+ ", found["fact"], maxsplit=1)
            if not _ASKS.search(what) and not _ASKS.search(is_so.rstrip(" .?!")):
                return " ".join(request[found.start("fact") :].split()).rstrip(" .!")
    return None


def _told(request: str, text: str, clauses: Sequence[_Clause]) -> str | None:
    """Return what is left when the clauses that only ask to keep it are taken off."""
    led = _asking(clauses)
    closed = _asking(clauses[: led - 1 if led else None : -1])
    if led + closed == len(clauses):
        return None
    asking = [each.text for each in (*clauses[:led], *clauses[len(clauses) - closed :])]
    first = led or next((n for n, each in enumerate(clauses) if not _COURTESY.fullmatch(each.text)), None)
    if first is None:
        return None  # thanks, and nothing else
    start = clauses[first].start
    that = _THAT.search(clauses[first].text)
    direct = None if asking else _DIRECT.match(text, start)
    if that and _asks_to_keep(clauses[first].text[: that.end()]):
        asking.append(clauses[first].text[: that.end()])
        start += that.end()
    elif direct and _is_direct(direct):
        asking.append(text[start : (start := direct.start(direct.lastgroup or 0))])
    if not asking or any(map(_is_refusal, asking)):
        return None
    may_ask = closed or (that and _MAY_ASK.match(text)) or (direct and direct["lost"])
    if text.rstrip().endswith("?") and not may_ask:
        return None
    end = clauses[-1 - (closed or _asking(clauses[:first:-1], is_led=True))].after
    said = request[start:end].lstrip(_EDGES)
    fact = said.rstrip(_EDGES + "?.! ")
    if _POINTS.fullmatch(fact) or _ASKS.search(said if closed else fact):
        return None
    if not closed and _SECRET.search(fact[-100:]):
        fact = said.rstrip(_EDGES + "?. ")
    return " ".join(fact.split()) or None


def _clauses(text: str) -> list[_Clause]:
    """Return the pieces of `text` that hold anything."""
    found, start = [], 0
    for end, after in (*(match.span() for match in _CLAUSE_END.finditer(text)), (len(text), len(text))):
        if piece := text[start:end].strip():
            found.append(_Clause(text.index(piece[0], start), after, piece))
        start = after
    return found


def _asking(clauses: Sequence[_Clause], *, is_led: bool = False) -> int:
    """Return how many clauses, from the first on, only ask to keep something; thanks and greetings are among them."""
    count = 0
    for number, clause in enumerate(clauses, 1):
        if _asks_to_keep(clause.text):
            count, is_led = number, True
        elif _COURTESY.fullmatch(clause.text):
            count = number if is_led else count
        elif not _is_made_of_words(clause.text):
            break
    return count


def _asks_to_keep(clause: str) -> bool:
    return _is_made_of_words(clause) and _CUE.search(clause) is not None


def _is_made_of_words(clause: str) -> bool:
    words = _WORD.findall(clause.lower())
    return len(words) <= _LONGEST and _WORDS.issuperset(words)


def _is_direct(match: re.Match[str]) -> bool:
    """Return whether that asks to keep what follows; where it may be an order for something else, it says what is."""
    says = match["said"] or (match["any"] if _FOR_HIMSELF.search(match["lead"]) else "")
    return _is_made_of_words(match["lead"]) and (not says or _SAYS.match(says) is not None)


def _is_refusal(clause: str) -> bool:
    """Return whether that asks to forget, or not to keep, or says what somebody keeps."""
    is_negated = _NEGATED.search(clause) is not None
    if _LOSES.search(clause):
        return not is_negated and not _MAY_LOSE.search(clause)
    return (is_negated and _CUE.search(clause) is not None) or _SELF.search(clause) is not None
