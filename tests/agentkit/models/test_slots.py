"""Which sequence a prompt goes to: the longest prefix is found, and nothing is dropped before its room is needed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from agentkit.models.slots import Place, Slots, common_prefix


class Cells:
    """A cache without a model: which cell each token of each sequence lies in."""

    def __init__(self, sequences: int, cache_tokens: int, *, shares: bool = True) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(sequences)]
        self.cache_tokens = cache_tokens
        self.shares = shares
        self._cells: list[list[int]] = [[] for _ in range(sequences)]
        self._next = itertools.count()

    def used(self, without: Sequence[int] = ()) -> int:
        return len(set().union(*(cells for index, cells in enumerate(self._cells) if index not in without)))

    def keep(self, sequence: int, count: int) -> None:
        del self.tokens[sequence][count:], self._cells[sequence][count:]

    def copy(self, source: int, target: int, count: int) -> None:
        assert not self.tokens[target]
        self.tokens[target] = self.tokens[source][:count]
        self._cells[target] = self._cells[source][:count]

    def decode(self, sequence: int, tokens: Sequence[int]) -> None:
        self.tokens[sequence].extend(tokens)
        self._cells[sequence].extend(itertools.islice(self._next, len(tokens)))
        assert self.used() <= self.cache_tokens


SYSTEM = list(range(100))
ONE, TWO = [*SYSTEM, *range(1000, 1050)], [*SYSTEM, *range(2000, 2050)]


def answered(
    slots: Slots, cells: Cells, prompt: Sequence[int], answer: int = 20, conversation: str | None = None
) -> Place:
    """Take a slot, decode prompt and answer, and give it back."""
    place = slots.take(prompt, len(prompt) + answer, conversation=conversation)
    assert place is not None
    cells.decode(place.slot.index, [*prompt[place.reused :], *(-1 - n for n in range(answer))])
    slots.give_back(place.slot)
    return place


def test_a_conversation_goes_on_where_it_was() -> None:
    cells = Cells(4, 1000)
    slots = Slots(cells)
    first = answered(slots, cells, ONE)
    assert (first.reused, first.origin) == (0, "cold")
    longer = [*cells.tokens[first.slot.index], 7, 8, 9]
    again = answered(slots, cells, longer)
    assert (again.slot, again.reused, again.origin) == (first.slot, len(longer) - 3, "reused")


def test_the_same_prompt_again_leaves_one_token_to_decode() -> None:
    cells = Cells(4, 1000)
    slots = Slots(cells)
    answered(slots, cells, ONE)
    assert answered(slots, cells, ONE).reused == len(ONE) - 1


def test_two_conversations_share_their_beginning_and_keep_their_own() -> None:
    cells = Cells(4, 1000)
    slots = Slots(cells)
    first = answered(slots, cells, ONE, conversation="one")
    second = answered(slots, cells, TWO, conversation="two")
    assert (second.reused, second.origin) == (len(SYSTEM), "copied")
    assert second.slot is not first.slot
    assert cells.used() == len(ONE) + len(TWO) - len(SYSTEM) + 2 * 20
    for prompt, name, place in ((ONE, "one", first), (TWO, "two", second)):
        again = answered(slots, cells, [*prompt, 5], conversation=name)
        assert (again.slot, again.reused) == (place.slot, len(prompt))


def test_a_conversation_that_was_cut_short_stays_in_its_slot() -> None:
    cells = Cells(4, 1000)
    slots = Slots(cells)
    first = answered(slots, cells, [*SYSTEM, *range(300, 700)], conversation="one")
    again = answered(slots, cells, [*SYSTEM, 5, 6], conversation="one")
    assert (again.slot, again.reused, again.origin) == (first.slot, len(SYSTEM), "reused")
    assert cells.used() == len(SYSTEM) + 2 + 20


def test_a_prefix_is_taken_from_a_slot_in_use() -> None:
    cells = Cells(2, 1000)
    slots = Slots(cells)
    busy = slots.take(ONE, 200)
    assert busy is not None
    cells.decode(busy.slot.index, ONE)
    other = slots.take(TWO, 200)
    assert other is not None
    assert (other.reused, other.origin) == (len(SYSTEM), "copied")
    assert slots.take(ONE, 200) is None  # both are in use


def test_a_cache_that_cannot_share_computes_again() -> None:
    cells = Cells(2, 1000, shares=False)
    slots = Slots(cells)
    answered(slots, cells, ONE, conversation="one")
    assert answered(slots, cells, TWO, conversation="two").reused == 0
    assert answered(slots, cells, ONE, conversation="one").reused == len(ONE) - 1


def test_another_adapter_is_another_model() -> None:
    cells = Cells(4, 1000)
    slots = Slots(cells)
    answered(slots, cells, ONE)
    place = slots.take(ONE, 300, adapter="a")
    assert place is not None
    assert place.reused == 0


def test_who_asks_for_more_than_is_free_waits_and_takes_nothing() -> None:
    cells = Cells(4, 400)
    slots = Slots(cells)
    busy = slots.take(ONE, 300)
    assert busy is not None
    before = [list(each) for each in cells.tokens]
    assert slots.take(range(5000, 5050), 150) is None
    assert cells.tokens == before
    slots.give_back(busy.slot)
    assert slots.take(range(5000, 5050), 150) is not None


def test_the_longest_unused_makes_room() -> None:
    cells = Cells(4, 500)
    slots = Slots(cells)
    prompts = [range(n, n + 130) for n in (1000, 2000, 3000)]
    places = [answered(slots, cells, list(prompt)) for prompt in prompts]
    answered(slots, cells, [*prompts[0], 1])  # used again
    answered(slots, cells, list(range(9000, 9100)))
    held = [len(cells.tokens[place.slot.index]) for place in places]
    assert held[1] == 0
    assert held[0] > 0
    assert held[2] > 0


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_there_is_room_for_what_was_promised(seed: int) -> None:
    chance = random.Random(seed)
    cells = Cells(chance.randint(1, 5), chance.randint(64, 400), shares=chance.random() < 0.8)
    slots = Slots(cells)
    running: list[tuple[Place, list[int], int]] = []
    for _ in range(120):
        if running and chance.random() < 0.5:
            place, prompt, answer = running.pop(chance.randrange(len(running)))
            some = chance.randint(0, answer)
            cells.decode(
                place.slot.index, [*prompt[place.reused :], *(chance.randrange(3) for _ in range(some))]
            )
            slots.give_back(place.slot)
            continue
        length = chance.randint(1, cells.cache_tokens - 8)
        prompt = [chance.randrange(2) if n > length // 2 else 0 for n in range(length)]
        answer = chance.randint(0, cells.cache_tokens - length)
        taken = slots.take(prompt, length + answer, conversation=chance.choice([None, "a", "b"]))
        assert taken is not None or running  # an idle cache takes whatever fits into it
        if taken is not None:
            assert cells.tokens[taken.slot.index] == prompt[: taken.reused]
            assert taken.reused < length
            running.append((taken, prompt, answer))


def test_a_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4], 3) == 2
    assert common_prefix([1, 2, 3], [1, 2, 3], 2) == 2
    assert common_prefix([], [1], 0) == 0
