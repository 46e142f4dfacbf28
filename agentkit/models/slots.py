"""Which sequence of the cache a prompt goes to, and what of the others has to make room for it.

Covered: the longest prefix that is already computed is used, wherever it lies; what another conversation keeps is
only thrown away when its room is needed, the longest unused first.
Not covered: computing anything; that is the decoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentkit.models.sliding import MAX_SHIFTS, MOVE_TOKENS, Move, find_move

COPY_TOKENS = 16
"""A shared prefix shorter than this is computed again rather than looked after."""


class Ledger(Protocol):
    """What is to be known of the cache, and can be done to it; `agentkit.models.decoder.Decoder` has it."""

    tokens: list[list[int]]
    cache_tokens: int
    shares: bool
    shifts: bool

    def used(self, without: Sequence[int] = ()) -> int:
        """Return how many cells hold something; `without` as if those sequences were empty."""
        ...

    def keep(self, sequence: int, count: int) -> None:
        """Drop everything of `sequence` behind its first `count` tokens, or all of it."""
        ...

    def shift(self, sequence: int, start: int, count: int) -> bool:
        """Let `count` tokens from `start` on leave, and move up what follows; return whether it could."""
        ...

    def copy(self, source: int, target: int, count: int) -> None:
        """Let the empty sequence `target` begin with the first `count` tokens of `source`."""
        ...


@dataclass(slots=True)
class Slot:
    """One sequence of the cache."""

    index: int
    busy: bool = False
    reserved: int = 0
    """While busy: how many tokens it may come to hold."""
    adapter: str = ""
    """What changed the weights while its tokens were computed; nobody else can use them."""
    conversation: str | None = None
    """Whose tokens it holds, where that was said."""
    exact: int | None = None
    """How many of its tokens are what a fresh computation would give; `None`: all."""
    shifts: int = 0
    """How often the window was shifted since all of it was exact."""
    saved: int = 0
    """How many of its tokens a saved state holds."""
    restored: bool = False
    """Whether it was filled from a saved state and not used since."""
    used: int = 0
    """When it was last used; higher is later."""

    def moved(self, start: int, count: int) -> None:
        """Note that `count` tokens from `start` on left, and the rest moved up."""
        self.exact = start if self.exact is None else min(self.exact, start)
        self.saved = max(min(self.saved, start), self.saved - count)
        self.shifts += 1


@dataclass(frozen=True, slots=True)
class Place:
    """A slot that was given away."""

    slot: Slot
    reused: int
    """How many tokens of the prompt it already holds."""
    origin: str
    """`cold`, `reused` (what the slot held), `shifted` (likewise, without what left the window), `restored` (from a
    saved state) or `copied` (what another one holds)."""


class Slots:
    """The sequences of one cache."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._all = [Slot(index) for index in range(len(ledger.tokens))]
        self._clock = 0
        self.to_compute: set[str] = set()
        """Conversations that were dropped so that they can be recorded, as what goes on from a saved state cannot."""

    def take(
        self, prompt: Sequence[int], reserve: int, *, adapter: str = "", conversation: str | None = None
    ) -> Place | None:
        """Give a slot to a prompt, with what of it is computed already; `None` where slots or room are all in use.

        Args:
            prompt: All of it. One token at least is left to decode, since the cache holds no logits.
            reserve: How many tokens prompt and answer may need together; at most the size of the cache.
            adapter: What changes the weights.
            conversation: Whose prompt it is: its own slot goes on with it, another's is rather copied from.
        """
        idle = [slot for slot in self._all if not slot.busy]
        if not idle:
            return None
        self.to_compute.discard(conversation or "")
        shared = [self._shared(slot, prompt, adapter, conversation) for slot in self._all]
        moving = self._moving(idle, prompt, adapter, conversation)
        if moving is not None and moving[1].reach >= max(shared) + MOVE_TOKENS:
            place = self._move(*moving, reserve)
            if place is not None:
                return place
        source = max(self._all, key=lambda slot: (shared[slot.index], not slot.busy, slot.used))
        target = self._target(idle, source, shared, conversation)
        if target is not source and (not self._ledger.shares or shared[source.index] < COPY_TOKENS):
            source = target
        count = shared[source.index]
        if not self._fits(reserve - (count if source.busy else 0)):
            return None
        exact = None if source.exact is None or count <= source.exact else source.exact
        shifts = 0 if exact is None else source.shifts
        if target is source:
            self._ledger.keep(target.index, count)
        else:
            self._ledger.keep(target.index, 0)
            self._ledger.copy(source.index, target.index, count)
        reused = len(self._ledger.tokens[target.index])  # the cache may not have been able to step back
        target.busy, target.reserved = True, reserve
        target.adapter, target.conversation = adapter, conversation
        target.exact, target.shifts = exact, shifts
        target.saved = min(target.saved, reused) if target is source else 0
        self._touch(target)
        self._make_room()
        own = "restored" if target.restored else "reused"
        target.restored = False
        return Place(target, reused, "cold" if not reused else own if target is source else "copied")

    def shared(self, prompt: Sequence[int], conversation: str | None, *, adapter: str = "") -> int:
        """Return how much of a prompt the cache holds, what it can move included."""
        moving = self._moving([slot for slot in self._all if not slot.busy], prompt, adapter, conversation)
        reach = 0 if moving is None else moving[1].reach
        return max(reach, *(self._shared(slot, prompt, adapter, conversation) for slot in self._all))

    def _moving(
        self, idle: Sequence[Slot], prompt: Sequence[int], adapter: str, conversation: str | None
    ) -> tuple[Slot, Move] | None:
        """Return the slot of a conversation whose oldest turns left the window, and how it goes on with the rest."""
        if not self._ledger.shifts or conversation is None:
            return None
        found: list[tuple[Slot, Move]] = []
        for slot in idle:
            if slot.conversation == conversation and slot.adapter == adapter and slot.shifts < MAX_SHIFTS:
                held = self._ledger.tokens[slot.index]
                move = find_move(held, prompt, self._shared(slot, prompt, adapter, conversation))
                if move is not None:
                    found.append((slot, move))
        return max(found, key=lambda each: each[1].reach, default=None)

    def _move(self, slot: Slot, move: Move, reserve: int) -> Place | None:
        """Give away a slot with its oldest tokens gone; `None` where there is no room, or the cache cannot do it."""
        if not self._fits(reserve) or not self._ledger.shift(slot.index, move.start, move.count):
            return None
        self._ledger.keep(slot.index, move.reach)
        slot.moved(move.start, move.count)
        slot.saved, slot.restored = min(slot.saved, move.reach), False
        slot.busy, slot.reserved = True, reserve
        self._touch(slot)
        self._make_room()
        return Place(slot, move.reach, "shifted")

    def room_for(self, count: int, *, conversation: str) -> Slot | None:
        """Empty an idle slot for `count` tokens of a conversation, and make room; `None` where there is none."""
        idle = [slot for slot in self._all if not slot.busy]
        if not idle or not self._fits(count):
            return None
        slot = min(
            idle, key=lambda slot: (slot.conversation != conversation, self._held(slot) > 0, slot.used)
        )
        self._ledger.keep(slot.index, 0)
        slot.busy, slot.reserved = True, count
        self._make_room()
        slot.busy, slot.reserved = False, 0
        slot.conversation, slot.exact, slot.shifts, slot.saved, slot.restored = None, None, 0, 0, False
        self._touch(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Take a slot back; what it holds stays, for whom it may serve."""
        slot.busy, slot.reserved = False, 0
        self._touch(slot)

    def has(self, slot: Slot) -> bool:
        """Return whether `slot` is one of these."""
        return any(slot is each for each in self._all)

    def restored(self, conversation: str | None) -> bool:
        """Return whether a state of a conversation was put back, and not used since."""
        return any(slot.restored and slot.conversation == conversation for slot in self._all)

    def clear(self, *, again: bool) -> None:
        """Drop all that idle slots hold; with `again` it is to be computed again, not restored."""
        idle = [slot for slot in self._all if not slot.busy]
        if again:
            self.to_compute = {slot.conversation for slot in idle if slot.conversation and self._held(slot)}
        for slot in idle:
            self._ledger.keep(slot.index, 0)

    def _target(
        self, idle: Sequence[Slot], source: Slot, shared: Sequence[int], conversation: str | None
    ) -> Slot:
        """Return the slot to use: the one that is being continued, else the one that is missed least."""
        if not source.busy and self._continued(source, shared[source.index], conversation):
            return source
        others = [slot for slot in idle if slot is not source] or idle
        return min(others, key=lambda slot: (self._held(slot) > 0, slot.used))

    def _continued(self, slot: Slot, shared: int, conversation: str | None) -> bool:
        """Return whether a prompt that shares so much goes on with what the slot holds, and does not replace it."""
        behind = self._held(slot) - shared
        if slot.conversation != conversation and None not in (slot.conversation, conversation):
            return behind == 0
        return shared > 0 and (behind <= shared or slot.conversation == conversation is not None)

    def _shared(self, slot: Slot, prompt: Sequence[int], adapter: str, conversation: str | None) -> int:
        if slot.adapter != adapter:
            return 0
        held = self._ledger.tokens[slot.index]
        limit = min(len(held), len(prompt) - 1)
        own = slot.conversation == conversation is not None
        if slot.exact is not None and (not own or slot.shifts >= MAX_SHIFTS):
            limit = min(limit, slot.exact)
        return common_prefix(held, prompt, limit)

    def _held(self, slot: Slot) -> int:
        return len(self._ledger.tokens[slot.index])

    def _promised(self) -> int:
        """Return how many more tokens the busy slots may come to hold."""
        return sum(slot.reserved - self._held(slot) for slot in self._all if slot.busy)

    def _fits(self, needed: int) -> bool:
        """Return whether so many more cells can be had at all, if every idle slot is emptied."""
        idle = [slot.index for slot in self._all if not slot.busy]
        return self._ledger.used(without=idle) + self._promised() + needed <= self._ledger.cache_tokens

    def _make_room(self) -> None:
        """Empty idle slots, the longest unused first, until what is promised has room."""
        idle = [slot for slot in self._all if not slot.busy and self._held(slot)]
        for slot in sorted(idle, key=lambda slot: slot.used):
            if self._ledger.used() + self._promised() <= self._ledger.cache_tokens:
                return
            self._ledger.keep(slot.index, 0)

    def _touch(self, slot: Slot) -> None:
        self._clock += 1
        slot.used = self._clock


def common_prefix(ours: Sequence[int], theirs: Sequence[int], limit: int) -> int:
    """Return how many of the first `limit` tokens of both are the same."""
    return next((index for index in range(limit) if ours[index] != theirs[index]), limit)
