"""Tools that are alike but for a word: `set_hall_heating`, `set_study_heating`; which one a request means (pure).

To an embedder "the study" is near the studio, too, and a small model shown several such tools calls the first. But the
request either says the word in which they differ, and then the others are not meant; or it says none of them, and
then the user has to say which.

Covered: three or more tools whose names differ in one word, whose descriptions differ in hardly more, and which take
the same parameters.
Not covered: names that differ in their first word, which mostly is a verb and has many synonyms: `add_task`,
`delete_task`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any, Protocol

from agentkit.context.words import STOP_WORDS, name_words, stem, words

LEAST = 3
"""Two tools that are alike are as often opposites as members of a series."""
_OWN_WORDS = 3
"""A member of a family has no more words of its own in name and description: `living room`."""


class Described(Protocol):
    """What is compared; `agentkit_tools.Tool` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the tool's name
    @property
    def description(self) -> str: ...  # noqa: D102 - what it does, in a sentence
    @property
    def parameters(self) -> dict[str, Any]: ...  # noqa: D102 - JSON Schema of an object


@dataclass(frozen=True, slots=True)
class Family:
    """Tools that are alike but for a word."""

    labels: Mapping[str, str]
    """By tool: the part of its name that the others do not have."""
    own: Mapping[str, frozenset[str]]
    """By tool: the words of its name and description that not all of the family have."""
    shared: frozenset[str] = frozenset()
    """The words that all of the family have."""

    def said(self, request: str) -> frozenset[str]:
        """Return the tools one of whose own words `request` says, in any form; in that very form, if one has it.

        Of the numbers only those count that follow a word of the family, if any does: "pump 2, for 5 minutes".
        """
        meant: set[str] = set()
        heard = words(request)
        numbered = {word for before, word in pairwise(heard) if word.isdigit() and before in self.shared}
        for word in frozenset(heard):
            if numbered and word.isdigit() and word not in numbered:
                continue
            exactly = {name for name, own in self.own.items() if word in own}
            meant |= exactly or {
                name for name, own in self.own.items() if stem(word) in {stem(each) for each in own}
            }
        return frozenset(meant)


def families(tools: Iterable[Described]) -> list[Family]:
    """Return the families among `tools`; a tool may belong to several, as `open_hall_window` does."""
    alike: dict[tuple[Any, ...], list[tuple[str, Described]]] = defaultdict(list)
    for tool in tools:
        name = name_words(tool.name)
        takes = frozenset(tool.parameters.get("properties") or ())
        for place in range(1, len(name)):
            alike[(place, *name[:place], None, *name[place + 1 :], takes)].append((name[place], tool))
    found = (_family(members) for members in alike.values() if len(members) >= LEAST)
    return [family for family in found if family is not None]


def not_meant(request: str, among: Sequence[Family]) -> frozenset[str]:
    """Return the tools in whose place `request` says another of their family."""
    return frozenset(
        name for family in among if (said := family.said(request)) for name in family.own.keys() - said
    )


def _family(members: Sequence[tuple[str, Described]]) -> Family | None:
    spoken = {
        tool.name: frozenset(words(f"{' '.join(name_words(tool.name))} {tool.description}"))
        for _, tool in members
    }
    common = reduce(frozenset.intersection, spoken.values())
    own = {name: said - common - STOP_WORDS for name, said in spoken.items()}
    if any(not 0 < len(each) <= _OWN_WORDS for each in own.values()):
        return None
    return Family({tool.name: label.lower() for label, tool in members}, own, common - STOP_WORDS)
