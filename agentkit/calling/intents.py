"""What a request says of tools in so many words: rules, and all there are (data).

`INTENTS` hold for a whole request and name its tool beyond doubt: that call is forced, with the values the request
gives; `noting.py` finds what it wants kept. `CUES` are found anywhere in a request and make a tool likely: it is
shown, and the model decides. A description of one sentence is far from most of the ways in which people ask for
arithmetic, or for something to be remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentkit.calling.pointing import FILE
from agentkit.request.asking import asks, question_in
from agentkit.request.dates import CARDINALS
from agentkit.request.noting import fact_to_keep, refuses_to_keep
from agentkit.request.rates import rate_sum


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that names its tool."""

    tool: str
    reason: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Values that stand in the request, by parameter; word for word, but arithmetic in symbols."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of `INTENTS`."""

    tool: str
    pattern: re.Pattern[str]
    """Must match the whole request, white space and a final `?`, `.` or `!` aside. A named group is the value of
    the parameter of that name."""
    reason: str
    verbatim: bool = False
    """Match the request as it stands, line breaks and all."""


def _rule(tool: str, pattern: str, reason: str, *, verbatim: bool = False) -> Rule:
    return Rule(tool, re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, verbatim)


_PLEASE = r"(?:please |can you |could you )?"
_ASKED = (
    _PLEASE + r"(?:(?:tell me )?(?:what(?:'s| is| are| do i get for)|how much (?:is|are))|calculate|compute|"
    r"work out|evaluate|(?:i need|give me|tell me|find)(?= the ))\s+"
)
_POLITELY = r"(?:,? (?:please|for me|thanks|thank you))*"
_NUMBER = r"(?:[-+(]\s?)*+\d++(?:,\d{3}(?!\d))*+(?:\.\d+)?+(?:\s?%(?!\s?[\d(]))?+(?:\s?\))*+"
"""Each character can be read in one way only: a sum that is none after all is given up at once."""
_OPERATOR = (
    r"(?:\*\*|//|[-+*/x\u00d7\u00b7\u00f7^]|%(?=\s?[\d(])|plus|minus|times|multiplied by|divided by|over|percent of"
    r"|(?<=%)of|(?<=% )of)"
)
_NO_SUM = r"(?!\d{4}-\d\d?-\d\d?\b|\d{1,2}/\d{1,2}/\d{2,4}\b|\d{3}-\d{3,4}(?:-\d{4})?$|24/7$)"
"""Days and telephone numbers."""
_SPOKEN = (
    rf"(?:multiply|divide) {_NUMBER} by {_NUMBER}|add {_NUMBER} (?:and|to) {_NUMBER}|"
    rf"subtract {_NUMBER} from {_NUMBER}|(?:the )?(?:product|sum) of {_NUMBER} and {_NUMBER}|"
    rf"(?:the )?(?:square root|sqrt) of {_NUMBER}"
)
_COUNTED = "|".join(CARDINALS)
_NOW = r"(?:is it|is today|it is|today|now|right now|and date|and time|of the week)"
_ARITHMETIC = "it is nothing but arithmetic"
_RUN = _PLEASE + r"(?:run|execute)\s+"
_CODE = r"\s*:\s*(?:```(?:python)?\n)?(?P<code>\S.*)"
_COMMAND = r"\s*:\s*(?:```(?:sh|bash)?\n)?(?P<command>\S.*)"
_PATH = rf"[\"'`]?(?P<path>(?:[\w-]+/)*{FILE})[\"'`]?"
_FILE_THERE = r"\s+(?:the |my |a )?(?:new )?(?:(?:text )?file |list )?(?:called |named )?" + _PATH
_INTO = rf"\s+(?:(?:in)?to|onto|in){_FILE_THERE}"
_AT_END = rf"\s+(?:(?:in)?to|onto|in|at the (?:end|bottom) of){_FILE_THERE}"
_LINE = r"(?:(?:a |the )?(?:new )?(?:line|item|entry)s?(?: saying| that says)?:? )"
_TEXT = r"(?:(?:the )?(?:text|words?):? )?"
_LEFT_OPEN = (
    r"(?!['`\u2018]|(?:the|an?|my|our|your|his|her|their|some|any|all|every\w*|another|more|it|its|this|that|these|those|them|what\w*|which|who|when|where|how"
    r"|today\S*|yesterday\S*)\b)"
)
"""Begins a description of what is to be written, not the words themselves."""
_LOOKS_LIKE_CODE = r"[^`(=\[*/]*[(=\[*/][^`]*?"
_CODE_GIVEN = "it gives what to run"
_TEXT_GIVEN = "it gives what to write"


def _quoted(name: str) -> str:
    """Match one text in quotes; two of them, and nobody knows where the first ends."""
    double = r"[\"\u201c](?=[^\"\u201c\u201d]+[\"\u201d][^\"\u201c\u201d]*$)"
    single = r"['`\u2018](?!.*['`],?\s(?:and|or)\s)"
    return rf"(?:{double}|{single})(?P<{name}>.+?)[\"'`\u201d\u2019]"


INTENTS: tuple[Rule, ...] = (
    _rule(
        "calculator",
        rf"(?:{_ASKED})?(?P<expression>{_NO_SUM}{_NUMBER}(?:\s?{_OPERATOR}\s?{_NUMBER})++)\s?=?{_POLITELY}",
        _ARITHMETIC,
    ),
    _rule("calculator", rf"(?:{_ASKED}|{_PLEASE})(?P<expression>{_SPOKEN}){_POLITELY}", _ARITHMETIC),
    _rule(
        "current_time",
        _PLEASE + r"(?:tell me |do you know )?what(?:'s| is)?(?: the)?(?: current)? "
        rf"(?:time|date|day|weekday|year|month)(?:\s{_NOW})*",
        "it asks for the time or date",
    ),
    _rule(
        "current_time",
        _PLEASE + r"(?:tell me |do you know )?what(?:'s| is)?(?: the)?(?: current)? time(?: is it| it is)?"
        rf"(?: right)?(?: now)? in (?P<timezone>(?!(?:an?|the|half|{_COUNTED}|few|some|my|our)\b)"
        r"[^\W\d][\w' -]{1,40}?)(?: right)?(?: now)?",
        "it asks for the time somewhere",
    ),
    _rule(
        "list_folder",
        _PLEASE + r"(?:list|show(?: me)?) (?:all )?(?:of )?(?:the |my )?(?:files|folders?)"
        r"(?: (?:here|there are|i have))?",
        "it asks for the files",
    ),
    _rule(
        "recall",
        r"(?:please )?(?:tell me )?what (?:do )?you (?:remember|know) about (?P<query>(?:me|my)\b.*)",
        "it asks for memories",
    ),
    _rule(
        "recall",
        r"do you (?:still )?remember (?P<query>(?:me|my|(?:what|where|when|who|how|which|the)\b.*\bmy)\b.*)",
        "it asks for memories",
    ),
    _rule(
        "recall",
        r"(?P<query>(?:please )?what did i (?:ask you to remember|tell you)\b.*)",
        "it asks for memories",
    ),
    _rule(
        "run_python",
        _RUN + r"(?:this |the following )?python(?: code| program| script)?" + _CODE,
        _CODE_GIVEN,
        verbatim=True,
    ),
    _rule(
        "append_file", rf"{_PLEASE}(?:add|append) (?:{_LINE}|{_TEXT}){_quoted('text')}{_AT_END}", _TEXT_GIVEN
    ),
    _rule("append_file", rf"{_PLEASE}(?:write|put|save) {_LINE}{_quoted('text')}{_AT_END}", _TEXT_GIVEN),
    _rule(
        "append_file",
        rf"{_PLEASE}(?:write|put|save) {_TEXT}{_quoted('text')}\s+at the (?:end|bottom) of{_FILE_THERE}",
        _TEXT_GIVEN,
    ),
    _rule(
        "append_file",
        rf"{_PLEASE}(?:add|append) {_LEFT_OPEN}(?=.*\.(?:txt|md)\W*$)(?P<text>[^\"\u201c`]{{1,200}}?){_AT_END}",
        _TEXT_GIVEN,
    ),
    _rule("write_file", rf"{_PLEASE}(?:write|save) {_TEXT}{_quoted('content')}{_INTO}", _TEXT_GIVEN),
    _rule(
        "write_file",
        rf"{_PLEASE}(?:create|make|write) (?:a |the )?(?:new )?(?:text )?file (?:called |named )?{_PATH},? "
        rf"(?:with(?: the)?(?: text| content| words?)?|containing|saying):? {_quoted('content')}(?: in it| inside)?",
        _TEXT_GIVEN,
    ),
    _rule("run_python", rf"{_RUN}`?(?P<code>{_LOOKS_LIKE_CODE})`? (?:in|with|using) python", _CODE_GIVEN),
    _rule("run_shell", rf"{_RUN}`?(?P<command>[^`]+?)`? in (?:the |a )?(?:shell|terminal|bash)", _CODE_GIVEN),
    _rule(
        "run_shell",
        _RUN + r"(?:this |the following )?(?:shell )?(?:command|shell)" + _COMMAND,
        _CODE_GIVEN,
        verbatim=True,
    ),
)
"""Every rule there is, tried in order."""


SYMBOLS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), symbol)
    for pattern, symbol in (
        (r"\s+(?:multiplied by|times|x)\s+", " * "),
        (r"\s+(?:divided by|over)\s+", " / "),
        (r"\s+plus\s+", " + "),
        (r"\s+minus\s+", " - "),
        (r"\s*percent of\b", "% of"),
        (r"^(?:the )?(?:square root|sqrt) of (.+)$", r"sqrt(\1)"),
        (r"^(?:multiply (.+) by|(?:the )?product of (.+) and) (.+)$", r"\1\2 * \3"),
        (r"^divide (.+) by (.+)$", r"\1 / \2"),
        (r"^subtract (.+) from (.+)$", r"\2 - \1"),
        (r"^(?:add (.+) (?:and|to)|(?:the )?sum of (.+) and) (.+)$", r"\1\2 + \3"),
    )
)
"""Spoken arithmetic as it is written."""


def intent(text: str, available: Iterable[str]) -> Intent | None:
    """Return the tool a request names beyond doubt, or nothing.

    Args:
        text: The request.
        available: Names of the tools there are; a rule for another tool is passed over.
    """
    names = frozenset(available)
    whole = " ".join(text.split())
    named = [
        name
        for name in sorted(names)
        if (found := _named(name).search(whole))
        and not _TALKED_ABOUT.search(whole[max(0, found.start() - _SENTENCE_CHARACTERS) : found.start()])
    ]
    if named:  # of two that are named in turn the model has to choose the first
        return Intent(named[0], "the request names it") if len(named) == 1 else None
    if "remember" in names and (fact := fact_to_keep(text)) is not None:
        return Intent("remember", "it asks to keep a fact", {"fact": fact})
    for rule in INTENTS:
        if (
            rule.tool in names
            and (values := _read(rule, text.strip() if rule.verbatim else whole)) is not None
        ):
            return Intent(rule.tool, rule.reason, values)
    if "calculator" in names and names <= BUILT_IN and (expression := rate_sum(text)) is not None:
        return Intent("calculator", "its units say what to calculate", {"expression": expression})
    return None


def _read(rule: Rule, request: str) -> dict[str, str] | None:
    """Return the values a rule finds in a request; `None` where it does not fit."""
    end = len(request) if rule.verbatim else len(request.rstrip("?.! "))
    match = rule.pattern.fullmatch(request.replace("\u2019", "'"), 0, end)
    if match is None:
        return None
    values = {name: request[slice(*match.span(name))].strip() for name in match.groupdict()}
    if rule.verbatim:
        return {name: value.removesuffix("```").rstrip() for name, value in values.items()}
    if "expression" in values:
        values["expression"] = _in_symbols(values["expression"])
    return values


_TALKED_ABOUT = re.compile(
    r"(?:n['\u2019]t|\b(?:not|never|without|why|how|should|what (?:if|happens)))\b[^.?!]*$", re.IGNORECASE
)
"""Stands before a name in a sentence that speaks of a tool and does not ask for it."""
_SENTENCE_CHARACTERS = 500


def _in_symbols(expression: str) -> str:
    for pattern, symbol in SYMBOLS:
        expression = pattern.sub(symbol, expression)
    return expression


def _named(tool: str) -> re.Pattern[str]:
    """Match "use the unit_price tool", however the name is spelt."""
    name = r"[ _-]".join(re.escape(part) for part in tool.split("_"))
    return re.compile(
        rf"\b(?:use|call|run|with|using) (?:the )?`?{name}`? (?:tool|function)\b", re.IGNORECASE
    )


@dataclass(frozen=True, slots=True)
class Cue:
    """One row of `CUES`."""

    tool: str
    pattern: re.Pattern[str]
    """Is found somewhere in the request."""
    reason: str


def _cue(tool: str, pattern: str, reason: str) -> Cue:
    return Cue(tool, re.compile(rf"\b(?:{pattern})", re.IGNORECASE | re.DOTALL), reason)


_FIGURE = rf"(?:(?<![\d.,:])\d[\d.,:]*+|(?:{_COUNTED}|hundred|thousand|dozen|half)\b)"
_SUM_WORDS = (
    r"(?:how (?:many|much|far|long|fast)|percent|squared?|cubed?|root|average|mean|total|altogether|each|per|twice|"
    r"double|triple|third|quarter|in an? (?:year|month|week|day|hour)|power|add|divided?|multipl\w+|times|minus|"
    r"plus|sum|difference|calculate|compute)\b"
)
_ARITHMETIC_SAID = re.compile(
    rf"(?<=[\d\s)])[-+*/x^=\u00d7\u00b7\u00f7](?=[\d\s(])|%|\b{_SUM_WORDS}"
    r"|\b(?:at|of|for|from|by|into|between|both|all|more|less|left|remain\w*|rest|together|combined|reduced|off|split|"
    r"shared?|costs?|prices?|pay|paid|worth|earn\w*|area|volume|distance|speed|convert\w*|discount|tip|tax|interest)\b",
    re.IGNORECASE,
)
"""Some word of a request for a sum; wide, so that hardly any in English is without one."""
_NEAR = r".{0,200}?"
"""Within so many characters, so that a long request takes no long time."""
CUED_CHARACTERS = 20_000
"""Of a longer request the beginning is looked at."""
CUES: tuple[Cue, ...] = (
    _cue("calculator", rf"{_FIGURE}{_NEAR}{_FIGURE}", "it has several numbers"),
    _cue(
        "calculator",
        rf"{_SUM_WORDS}{_NEAR}\d|\d{_NEAR}(?:%|\b{_SUM_WORDS})",
        "it has a number and a word of arithmetic",
    ),
    _cue(
        "remember",
        r"(?:remember|rember|memori[sz]e|(?:your|to|in) memory|notes? (?:that|to self|this|of)|take (?:a )?note|note:|"
        r"(?:in|to|into) your notes|(?:keep|bear|have) (?:\w+ )?in mind|keep (?:a |this|that|it|hold|track)|jot|"
        r"(?:write|put|take|note) (?:\w+ ){0,3}down|(?<!i )save|store|record|forget|hold on to|hang on to|"
        r"retain|you should know|know (?:this|that)|for (?:later|(?:the )?future)|"
        r"need (?:it|this|that) (?:later|again))\b",
        "it speaks of remembering",
    ),
    _cue(
        "recall",
        r"(?:remember|recall|remind me (?:what|where|when|who|how|of)|did i (?:say|tell|ask|mention)|"
        r"i (?:told|asked|gave) you)\b",
        "it speaks of remembering",
    ),
    _cue(
        "search_documents", r"(?:my|our|the) (?:notes?|documents?|files?|papers)\b", "it speaks of documents"
    ),
    _cue("append_file", rf"(?:add|append)\b{_NEAR}{FILE}", "it names a file to add to"),
    _cue("write_file", rf"(?:write|save|create|put|store|make)\b{_NEAR}{FILE}", "it names a file to write"),
    _cue("read_file", FILE, "it names a file"),
)
"""Every cue there is; a tool of an earlier row is shown before one of a later row."""


BUILT_IN = frozenset({"remember", *(rule.tool for rule in INTENTS), *(cue.tool for cue in CUES)})
"""Tools that agentkit comes with: beside any other, what sounds like a sum may be for that one."""


def unwanted(text: str, *, required: bool = False) -> frozenset[str]:
    """Return the tools that are not to be used for a request: `remember` for "don't save this", and for a question.

    Args:
        text: The request.
        required: A call has to be made, whatever it is.
    """
    begun = text[:CUED_CHARACTERS]
    is_question = asks(text) and bool(question_in(text)) and not cues(begun, ("remember",))
    hidden = (is_question and not required) or refuses_to_keep(begun)
    return frozenset({"remember"}) if hidden else frozenset()


def speaks_of_arithmetic(text: str) -> bool:
    """Return whether a request says how something is to be calculated, in symbols or in English."""
    return _ARITHMETIC_SAID.search(text[:CUED_CHARACTERS]) is not None


def cues(text: str, available: Iterable[str]) -> dict[str, str]:
    """Return the tools that the words of a request make likely, and why, the likeliest first.

    Args:
        text: The request.
        available: Names of the tools there are.
    """
    names, text = frozenset(available), text[:CUED_CHARACTERS]
    found: dict[str, str] = {}
    for cue in CUES:
        if cue.tool in names and cue.tool not in found and cue.pattern.search(text):
            found[cue.tool] = cue.reason
    return found
