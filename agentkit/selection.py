"""Which tools the model is shown for one request, and when a call is plain from the words alone.

A small model calls well among few tools and badly among many. So: pinned tools, then those whose description
is nearest to the request or to a part of it, up to a number and a token budget; the same request always gets the
same tools, with reasons. Pinned tools stand in the stable front of the prompt, the others beside the question
(`ToolSpec.beside`), so that choosing anew never makes the engine read the conversation anew. Where a request names
its tool beyond doubt (`INTENTS`), the call is forced; the rules are data, and all there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.context.compress import Embeds
from agentkit.context.words import terms
from agentkit.messages import ToolSpec
from agentkit.parts import parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 3
NEAREST_SCORE = 0.2
"""Cosine under which a description has nothing to do with a request; the tool that is meant is over it in 95 of 100
requests of our own, the nearest one in 18 of 100 that no tool fits."""


class Described(Protocol):
    """What selection needs to know of a tool; `agentkit_tools.Tool` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the tool's name
    @property
    def description(self) -> str: ...  # noqa: D102 - what it does, in a sentence
    @property
    def parameters(self) -> dict[str, Any]: ...  # noqa: D102 - JSON Schema of an object


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


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tools for one request."""

    tools: tuple[ToolSpec, ...]
    """Sorted by name, so that the same set is always the same prompt."""
    reasons: dict[str, str]
    """Why each is there."""


def _rule(tool: str, pattern: str, reason: str, *, verbatim: bool = False) -> Rule:
    return Rule(tool, re.compile(pattern, re.IGNORECASE | re.DOTALL), reason, verbatim)


_PLEASE = r"(?:please |can you |could you )?"
_ASKED = (
    _PLEASE + r"(?:(?:tell me )?(?:what(?:'s| is| are| do i get for)|how much (?:is|are))|calculate|compute|"
    r"work out|evaluate|(?:i need|give me|tell me|find)(?= the ))\s+"
)
_POLITELY = r"(?:,? (?:please|for me|thanks|thank you))*"
_NUMBER = r"[-+(]*\s*\d+(?:,\d+)*(?:\.\d+)?\s*%?\s*\)*"
_OPERATOR = (
    r"(?:\*\*|//|[-+*/x\u00d7\u00b7\u00f7^%]|plus|minus|times|multiplied by|divided by|over|percent of|of)"
)
_SPOKEN = (
    rf"(?:multiply|divide) {_NUMBER} by {_NUMBER}|add {_NUMBER} (?:and|to) {_NUMBER}|"
    rf"subtract {_NUMBER} from {_NUMBER}|(?:the )?(?:product|sum) of {_NUMBER} and {_NUMBER}|"
    rf"(?:the )?(?:square root|sqrt) of {_NUMBER}"
)
_NOW = r"(?:is it|is today|it is|today|now|right now|and date|and time|of the week|is it today|is it now)"
_ARITHMETIC = "it is nothing but arithmetic"
_RUN = _PLEASE + r"(?:run|execute)\s+"
_CODE = r"\s*:\s*(?:```(?:python)?\n)?(?P<code>.+?)\s*(?:```)?\s*"
_COMMAND = r"\s*:\s*(?:```(?:sh|bash)?\n)?(?P<command>.+?)\s*(?:```)?\s*"
_CODE_GIVEN = "it gives what to run"

INTENTS: tuple[Rule, ...] = (
    _rule(
        "remember",
        _PLEASE + r"remember\b(?: that|:|,)?\s+(?P<fact>(?!when|how|what|who|where|if|the time)\S.*)",
        "it begins with remember",
    ),
    _rule(
        "remember",
        r"(?:please )?(?:note|make a note|keep in mind)(?: that|:)\s+(?P<fact>\S.*)",
        "it asks for a note",
    ),
    _rule(
        "remember",
        _PLEASE
        + r"(?:save|store|note|keep|write(?: down)?|jot down) (?:this|the following)(?: down)?(?: for later)?:"
        r"\s+(?P<fact>\S.*)",
        "it asks for a note",
    ),
    _rule(
        "remember",
        r"(?:please )?(?:don't|do not|never) forget(?: that|:)\s+(?P<fact>\S.*)",
        "it asks not to forget",
    ),
    _rule(
        "remember",
        r"(?P<fact>\S[^?]*?)[,;.:] *(?:and )?(?:please )?(?:(?:don't|do not|never) forget|remember) (?:that|this|it)"
        rf"{_POLITELY}",
        "it asks not to forget",
    ),
    _rule(
        "calculator",
        rf"(?:{_ASKED})?(?P<expression>{_NUMBER}(?:\s*{_OPERATOR}\s*{_NUMBER})+)\s*=?{_POLITELY}",
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
    request = " ".join(text.split()).rstrip("?.! ")
    for name in sorted(names):
        if _named(name).search(request):
            return Intent(name, "the request names it")
    for rule in INTENTS:
        if rule.tool not in names:
            continue
        match = rule.pattern.fullmatch(text.strip() if rule.verbatim else request)
        if match is not None:
            values = {name: said.strip() for name, said in match.groupdict().items()}
            if "expression" in values:
                values["expression"] = _in_symbols(values["expression"])
            return Intent(rule.tool, rule.reason, values)
    return None


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


class Selection:
    """Chooses tools for requests; the vectors of the descriptions are computed once."""

    def __init__(
        self,
        embedder: Embeds | None = None,
        *,
        pins: Iterable[str] = (),
        limit: int = LIMIT,
        budget_tokens: int = 600,
        count: Callable[[str], int] = lambda text: len(text) // 3,
        vectors: dict[str, NDArray[Any]] | None = None,
    ) -> None:
        """Prepare to choose.

        Args:
            embedder: Says how near a description is to a request; without one, the words they share do.
            pins: Names of tools that are always shown.
            limit: How many are shown beside the pinned ones.
            budget_tokens: What all of them may cost together, the pinned ones among them.
            count: Counts tokens.
            vectors: Those of descriptions, kept from one selection to the next; computed as they are wanted.
        """
        self._embedder = embedder
        self._pins = frozenset(pins)
        self._limit = limit
        self._budget_tokens = budget_tokens
        self._count = count
        self._vectors = {} if vectors is None else vectors

    def pinned(self, tools: Iterable[Described]) -> Chosen:
        """Return the pinned tools alone, as they stand in front of every prompt."""
        shown = sorted((tool for tool in tools if tool.name in self._pins), key=lambda tool: tool.name)
        return Chosen(
            tuple(_spec(tool, beside=False) for tool in shown), {tool.name: "pinned" for tool in shown}
        )

    def choose(
        self,
        request: str,
        tools: Iterable[Described],
        *,
        forced: Intent | None = None,
        named: str | None = None,
        required: bool = False,
    ) -> Chosen:
        """Return the pinned tools and the few others for `request`.

        Pins are always there, whatever they cost; the nearest ones stop at the limit and at the token budget.

        Args:
            request: What the user said.
            tools: All there are.
            forced: Beside the pins this tool alone, bound to what the request says of it.
            named: Beside the pins this tool alone.
            required: A call has to be made: show the nearest tool at least, however far it is.
        """
        every = {tool.name: tool for tool in tools}
        reasons = {name: "pinned" for name in sorted(every) if name in self._pins}
        only = forced.tool if forced is not None else named
        if only is not None:
            reasons[only] = "asked for by name" if forced is None else forced.reason
        else:
            reasons |= self._nearest(request, every, reasons, required=required)
        shown = [_spec(every[name], beside=name not in self._pins) for name in sorted(reasons)]
        if forced is not None:
            shown = [_narrowed(each, forced.arguments) if each.name == only else each for each in shown]
        return Chosen(tuple(shown), reasons)

    def _nearest(
        self, request: str, every: Mapping[str, Described], pinned: Mapping[str, str], *, required: bool
    ) -> dict[str, str]:
        """Return the tools nearest to `request` that fit beside the pinned ones, and why."""
        left = self._budget_tokens - sum(self._cost(every[name]) for name in pinned)
        free = [tool for name, tool in every.items() if name not in pinned]
        nearest = sorted(
            zip(self._scores(request, free), free, strict=True), key=lambda pair: (-pair[0], pair[1].name)
        )
        found: dict[str, str] = {}
        for score, tool in nearest:
            if score < NEAREST_SCORE or len(found) >= self._limit:
                break
            cost = self._cost(tool)
            if cost <= left:
                left -= cost
                found[tool.name] = f"near the request ({score:.2f})"
        if required and nearest and not found and not pinned:
            score, tool = nearest[0]
            found[tool.name] = f"the nearest to the request ({score:.2f}), and a call is required"
        return found

    def _scores(self, request: str, tools: Sequence[Described]) -> list[float]:
        if not tools:
            return []
        # a tool may be near one of the things that are asked for, and far from all of them together
        asked_for = list(dict.fromkeys((request, *parts(request))))
        if self._embedder is None:
            asked = [set(terms(part)) for part in asked_for]
            return [
                max(len(words & set(terms(_words(tool)))) / (len(words) or 1) for words in asked)
                for tool in tools
            ]
        texts = [_words(tool) for tool in tools]
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self._embedder.embed(missing), strict=True))
        vectors = self._embedder.embed(asked_for)
        return [max(float(self._vectors[text] @ vector) for vector in vectors) for text in texts]

    def _cost(self, tool: Described) -> int:
        return self._count(f"{tool.name}{tool.description}{tool.parameters}")


def _words(tool: Described) -> str:
    return f"{tool.name.replace('_', ' ')}: {tool.description}"


def _narrowed(spec: ToolSpec, arguments: Mapping[str, str]) -> ToolSpec:
    """Leave the model only what the request does not already say: given values are the only ones allowed.

    A pinned tool is shown as ever: what a request says is no part of the stable front.
    """
    properties = spec.parameters.get("properties", {})
    required = [name for name in properties if name in {*spec.parameters.get("required", ()), *arguments}]
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: {"enum": [arguments[name]]} if name in arguments else properties[name] for name in required
        },
        "required": required,
        "additionalProperties": False,
        **{key: spec.parameters[key] for key in ("$defs", "definitions") if key in spec.parameters},
    }
    return replace(spec, parameters=parameters) if spec.beside else replace(spec, narrowed=parameters)


def _spec(tool: Described, *, beside: bool) -> ToolSpec:
    return ToolSpec(tool.name, tool.description, tool.parameters, beside)
