"""Which sequence a prompt goes to: the longest prefix is found, and nothing is dropped before its room is needed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest

from agentkit.models.sliding import MAX_SHIFTS, MOVE_TOKENS, find_move
from agentkit.models.slots import Place, Slots, common_prefix


class Cells:
    """A cache without a model: which cell each token of each sequence lies in."""

    def __init__(
        self, sequences: int, cache_tokens: int, *, shares: bool = True, shifts: bool = False
    ) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(sequences)]
        self.cache_tokens = cache_tokens
        self.shares = shares
        self.shifts = shifts
        self._cells: list[list[int]] = [[] for _ in range(sequences)]
        self._next = itertools.count()
        self.moved: set[int] = set()
        """Cells whose tokens are not what a fresh computation would give."""

    def used(self, without: Sequence[int] = ()) -> int:
        return len(set().union(*(cells for index, cells in enumerate(self._cells) if index not in without)))

    def keep(self, sequence: int, count: int) -> None:
        del self.tokens[sequence][count:], self._cells[sequence][count:]

    def shift(self, sequence: int, start: int, count: int) -> bool:
        behind = self._cells[sequence][start + count :]
        if not self.shifts or any(
            set(behind) & set(cells) for index, cells in enumerate(self._cells) if index != sequence
        ):
            return False
        del self.tokens[sequence][start : start + count], self._cells[sequence][start : start + count]
        self.moved.update(behind)
        return True

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


def turns(*numbers: int) -> list[int]:
    """Return a conversation of turns, 100 tokens each."""
    return [*SYSTEM, *(1000 * number + at for number in numbers for at in range(100))]


def test_a_conversation_without_its_oldest_turns_goes_on_with_the_rest() -> None:
    cells = Cells(2, 1000, shifts=True)
    slots = Slots(cells)
    answered(slots, cells, turns(1, 2, 3), 0, conversation="one")
    place = answered(slots, cells, turns(2, 3, 4), 0, conversation="one")
    assert (place.reused, place.origin) == (300, "shifted")
    assert (place.slot.exact, place.slot.shifts) == (100, 1)
    again = answered(slots, cells, turns(2, 3, 4, 5), 0, conversation="one")
    assert (again.reused, again.origin) == (400, "reused")


@pytest.mark.parametrize("other", [None, "two"])
def test_what_was_moved_serves_nobody_else(other: str | None) -> None:
    cells = Cells(4, 4000, shifts=True)
    slots = Slots(cells)
    answered(slots, cells, turns(1, 2, 3), 0, conversation="one")
    assert answered(slots, cells, turns(3, 4), 0, conversation=other).reused == len(
        SYSTEM
    )  # nor moved for it
    assert answered(slots, cells, turns(2, 3, 5), 0, conversation="one").origin == "shifted"
    assert answered(slots, cells, turns(2, 3, 5, 6), 0, conversation=other).reused == len(SYSTEM)


def test_after_so_many_moves_all_is_computed_again() -> None:
    cells = Cells(1, 1000, shifts=True)
    slots = Slots(cells)
    answered(slots, cells, turns(0, 1, 2), 0, conversation="one")
    origins = [answered(slots, cells, turns(n, n + 1, n + 2), 0, conversation="one") for n in range(1, 11)]
    assert [place.origin for place in origins] == ["shifted"] * MAX_SHIFTS + ["reused", "shifted"]
    assert origins[MAX_SHIFTS].reused == len(SYSTEM)
    assert origins[-1].slot.shifts == 1


def test_what_is_shared_with_another_is_not_moved() -> None:
    cells = Cells(2, 2000, shifts=True)
    slots = Slots(cells)
    answered(slots, cells, turns(1, 2, 3), 20, conversation="one")
    assert answered(slots, cells, turns(1, 2, 3, 4), 0, conversation="two").origin == "copied"
    assert answered(slots, cells, turns(2, 3, 5), 0, conversation="one").reused == len(SYSTEM)


@pytest.mark.parametrize("seed", range(40))
def test_what_was_moved_is_never_taken_for_exact(seed: int) -> None:
    chance = random.Random(seed)
    cells = Cells(chance.randint(1, 4), 700, shifts=True)
    slots = Slots(cells)
    said: dict[str, list[int]] = {name: [chance.randrange(50)] for name in "abc"}
    for _ in range(80):
        name = chance.choice("abc")
        said[name].append(chance.randrange(50))
        prompt = turns(*said[name][-chance.randint(1, 4) :])
        place = answered(slots, cells, prompt, chance.randint(0, 30), conversation=name)
        slot = place.slot
        held = cells._cells[slot.index][: place.reused]
        assert cells.tokens[slot.index][: place.reused] == prompt[: place.reused]
        assert slot.shifts <= MAX_SHIFTS
        exact = place.reused if slot.exact is None else slot.exact
        assert not cells.moved.intersection(held[:exact])
        for other in range(len(cells.tokens)):
            if other != slot.index:
                assert not cells.moved.intersection(cells._cells[other]) & set(held)


@pytest.mark.parametrize("seed", range(40))
def test_a_move_reaches_as_far_as_it_says(seed: int) -> None:
    chance = random.Random(seed)
    front, gone, left, fresh = (
        [chance.randrange(4) for _ in range(chance.randint(low, 200))] for low in (0, 1, 100, 2)
    )
    held, prompt = [*front, *gone, *left], [*front, *left, *fresh]
    shared = common_prefix(held, prompt, min(len(held), len(prompt) - 1))
    move = find_move(held, prompt, shared)
    if move is None:
        assert len(front) + len(left) - shared < 2 * MOVE_TOKENS
        return
    after = held[: move.start] + held[move.start + move.count :]
    assert after[: move.reach] == prompt[: move.reach]
    assert move.reach < len(prompt)


def test_a_common_prefix_ends_at_the_first_difference() -> None:
    assert common_prefix([1, 2, 3], [1, 2, 4], 3) == 2
    assert common_prefix([1, 2, 3], [1, 2, 3], 2) == 2
    assert common_prefix([], [1], 0) == 0
