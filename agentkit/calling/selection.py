"""Which tools the model is shown for one request.

A small model calls well among few tools and badly among many. So: pinned tools, then those the request's own words
make likely (`agentkit.calling.intents`), then those whose description is nearest to the request or to a part of it,
up to a number and a token budget; the same request always gets the same tools, with reasons. Pinned tools stand in the
stable front of the prompt, the others beside the question (`ToolSpec.beside`), so that choosing anew never makes the
engine read the conversation anew. Where a request names its tool beyond doubt, it is shown alone, and its call forced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agentkit.calling.intents import Intent, cues, unwanted
from agentkit.calling.parameters import needed
from agentkit.calling.pointing import is_order_to_read, named_by, pointed_to, read_by
from agentkit.calling.siblings import LEAST, Described, Family, families, not_meant
from agentkit.context.compress import Embeds
from agentkit.context.words import terms
from agentkit.messages import ToolSpec
from agentkit.request.parts import parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 3
CLEAR_SCORE = 0.35
"""Cosine from which one of the tools is most likely what is wanted."""
RELATED_SCORE = 0.2
"""Cosine under which a description has nothing to do with a request; the tool that is meant is over it in 95 of 100
requests of our own, the nearest one in 18 of 100 that no tool fits."""
DECLINES_SCORE = 0.1
"""The same for a model that can say that no tool helps: it does where the nearest one is that far, and calls the right
one where it is meant all the same. Asked of it alone are such requests."""
BESIDE_SCORE = 0.1
"""The same for a request for several things, behind a tool that is nearer: of 200 such requests of our
own the tools of 187 are shown, and those of 152 without this and with `LIMIT` for all of them."""
_READS = "it reads what the request names"
UNDECIDED_SCORE = 0.05
"""Of tools that are alike but for a word nobody said, those as near as this to the nearest one are as likely meant."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The tools for one request."""

    tools: tuple[ToolSpec, ...]
    """Sorted by name, so that the same set is always the same prompt."""
    reasons: dict[str, str]
    """Why each is there."""
    clear: bool = False
    """One of them is most likely wanted: it is pinned or named, words speak of it, or its description is very near."""
    undecided: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By tool that is one of several alike: the words of which the request should have said one."""
    ready: str = ""
    """The tool that is nearest to the request, if it can be called without any value."""
    reads: str = ""
    """The tool that reads the file or the address which the request names."""
    first: str = ""
    """The tool that reads what a request for several things wants read before the rest is done."""


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
        declines: bool = False,
    ) -> None:
        """Prepare to choose.

        Args:
            embedder: Says how near a description is to a request; without one, the words they share do.
            pins: Names of tools that are always shown.
            limit: How many are shown beside the pinned ones.
            budget_tokens: What all of them may cost together, the pinned ones among them.
            count: Counts tokens.
            vectors: Those of descriptions, kept from one selection to the next; computed as they are wanted.
            declines: The model was taught to say that no tool helps; it may see some that are far from the request.
        """
        self._embedder = embedder
        self._pins = frozenset(pins)
        self._limit = limit
        self._budget_tokens = budget_tokens
        self._count = count
        self._vectors = {} if vectors is None else vectors
        self._least = DECLINES_SCORE if declines else RELATED_SCORE

    def pinned(self, tools: Iterable[Described]) -> Chosen:
        """Return the pinned tools alone, as they stand in front of every prompt."""
        shown = sorted((tool for tool in tools if tool.name in self._pins), key=lambda tool: tool.name)
        reasons = {tool.name: "pinned" for tool in shown}
        return Chosen(tuple(_spec(tool, beside=False) for tool in shown), reasons, clear=bool(shown))

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
        found = Chosen((), {}, clear=bool(reasons) or only is not None)
        if only is not None:
            reasons[only] = "asked for by name" if forced is None else forced.reason
        else:
            near = self._nearest(request, every, reasons, required=required)
            reasons |= near.reasons
            found = replace(near, clear=found.clear or near.clear)
        shown = [_spec(every[name], beside=name not in self._pins) for name in sorted(reasons)]
        if forced is not None:
            shown = [_narrowed(each, forced.arguments) if each.name == only else each for each in shown]
        elif held := found.reads or found.first:
            pointed = pointed_to(request if found.reads else parts(request)[0])
            shown = [_pointing(each, pointed) if pointed and each.name == held else each for each in shown]
        return replace(found, tools=tuple(shown), reasons=reasons)

    def _nearest(
        self, request: str, every: Mapping[str, Described], pinned: Mapping[str, str], *, required: bool
    ) -> Chosen:
        """Return why which tools are nearest to `request` and fit beside the pinned ones, and what is known of them."""
        left = self._budget_tokens - sum(self._cost(every[name]) for name in pinned)
        asked_for = parts(request)
        among = families(every.values())
        hidden = pinned.keys() | unwanted(request, required=required) | not_meant(request, among)
        free = [tool for name, tool in every.items() if name not in hidden]
        nearest = sorted(
            zip(self._scores((request, *asked_for), free), free, strict=True),
            key=lambda pair: (-pair[0], pair[1].name),
        )
        reading = read_by(request, (tool for _, tool in nearest))[:1]
        begins = not reading and len(asked_for) > 1 and is_order_to_read(asked_for[0])
        reading = read_by(asked_for[0], (tool for _, tool in nearest))[:1] if begins else reading
        named = named_by(request, (tool for _, tool in nearest))
        likely = {**cues(request, (tool.name for tool in free)), **dict.fromkeys([*reading, *named], _READS)}
        is_near = bool(nearest) and nearest[0][0] >= RELATED_SCORE
        beside = BESIDE_SCORE if len(asked_for) > 1 else RELATED_SCORE
        least = beside if is_near else self._least
        near = ((tool.name, f"near the request ({score:.2f})") for score, tool in nearest if score >= least)
        found: dict[str, str] = {}
        for name, reason in (*likely.items(), *near):
            if len(found) >= max(self._limit, len(asked_for)):
                break
            cost = self._cost(every[name])
            if name not in found and cost <= left:
                left -= cost
                found[name] = reason
        if required and nearest and not found and not pinned:
            score, tool = nearest[0]
            found[tool.name] = f"the nearest to the request ({score:.2f}), and a call is required"
        clear = any(name in found for name in likely) or (bool(found) and nearest[0][0] >= CLEAR_SCORE)
        first = nearest[0][1].name if nearest else ""
        ready = first in found and not needed(every[first])
        undecided = _undecided(request, among, nearest)
        read = next((name for name in reading if name in found), "")
        reads, before = ("", read) if begins else (read, "")
        return Chosen((), found, clear, undecided, first if ready else "", reads, before)

    def _scores(self, asked_for: Iterable[str], tools: Sequence[Described]) -> list[float]:
        """Return how near each tool is to the nearest of `asked_for`: it may be far from all of them together."""
        if not tools:
            return []
        asked_for = list(dict.fromkeys(asked_for))
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


def _undecided(
    request: str, among: Iterable[Family], nearest: Sequence[tuple[float, Described]]
) -> dict[str, tuple[str, ...]]:
    """Return the tools that `request` does not tell apart, each with the words of which it should have said one.

    Args:
        request: What the user said.
        among: The families there are.
        nearest: How near every tool is, the nearest first.
    """
    best = nearest[0][0] if nearest else 0.0
    if best < CLEAR_SCORE:
        return {}
    close = {tool.name for score, tool in nearest if score >= best - UNDECIDED_SCORE}
    return {
        name: tuple(sorted(family.labels.values()))
        for family in among
        if len(close & family.labels.keys()) >= LEAST and not family.said(request)
        for name in family.labels
    }


def _words(tool: Described) -> str:
    return f"{tool.name.replace('_', ' ')}: {tool.description}"


def _pointing(spec: ToolSpec, pointed: tuple[str, ...]) -> ToolSpec:
    """Let a tool that reads one thing read only what the request points to; the model is shown it as ever."""
    (name,) = spec.parameters["required"]
    properties = {**spec.parameters["properties"], name: {"enum": list(pointed)}}
    return replace(spec, narrowed={**spec.parameters, "properties": properties})


def _narrowed(spec: ToolSpec, arguments: Mapping[str, str]) -> ToolSpec:
    """Leave the model only what the request does not already say: given values are the only ones allowed.

    A pinned tool is shown as ever: what a request says is no part of the stable front.
    """
    every = spec.parameters.get("properties", {})
    required = [name for name in every if name in {*needed(spec), *arguments}]
    parameters: dict[str, Any] = {
        "type": "object",
        "properties": {
            name: {"enum": [arguments[name]]} if name in arguments else every[name] for name in required
        },
        "required": required,
        "additionalProperties": False,
        **{key: spec.parameters[key] for key in ("$defs", "definitions") if key in spec.parameters},
    }
    return replace(spec, parameters=parameters) if spec.beside else replace(spec, narrowed=parameters)


def _spec(tool: Described, *, beside: bool) -> ToolSpec:
    return ToolSpec(tool.name, tool.description, tool.parameters, beside)
