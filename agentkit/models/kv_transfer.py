"""Take the state of a conversation out of the cache into an open file without a name, and put it back; worker only.

Covered: the bytes go between llama.cpp and the file without a copy in between, and no file system sees them.
Not covered: whether a state is genuine; who sends it has checked that.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.models.decoder import Decoder
from agentkit.models.kv_state import MAX_STATE_BYTES, RESTORE_TOKENS, SAVE_TOKENS, pack, unpack
from agentkit.models.sliding import MAX_SHIFTS, find_move
from agentkit.models.slots import Slot, Slots, common_prefix


@dataclass(frozen=True, slots=True)
class Offer:
    """A saved state that the core has of the conversation a prompt belongs to."""

    conversation: str
    tokens: list[int]
    exact: int
    shifts: int
    adapter: str
    """What changed the weights it was computed with."""

    @classmethod
    def read(cls, conversation: object, kept: object, adapter: str) -> Offer | None:
        """Read it from a request; `None` where there is none."""
        if not isinstance(conversation, str) or not isinstance(kept, list):
            return None
        tokens, exact, shifts = kept
        return cls(conversation, unpack(tokens), int(exact), int(shifts), adapter)


class Transfer:
    """Moves states between the cache and open files."""

    def __init__(self, decoder: Decoder, slots: Slots) -> None:
        self._decoder = decoder
        self._slots = slots

    def wants(self, offer: Offer, prompt: Sequence[int]) -> bool:
        """Return whether a state would spare more than the cache does already, and is not to be done without."""
        if offer.conversation in self._slots.to_compute:
            return False
        limit = min(len(offer.tokens), len(prompt) - 1)
        shared = common_prefix(offer.tokens, prompt, limit)
        if not self._decoder.shares and shared < len(offer.tokens):
            return False  # this cache cannot step back to where they part
        if self._decoder.shifts and offer.shifts < MAX_SHIFTS:
            move = find_move(offer.tokens, prompt, shared)
            shared = shared if move is None else move.reach
        cached = self._slots.shared(prompt, offer.conversation, adapter=offer.adapter)
        return shared - cached >= RESTORE_TOKENS

    def restore(self, offer: Offer, file: int) -> bool:
        """Fill a slot with a state; return whether there was room and llama.cpp took it."""
        count = len(offer.tokens)
        slot = self._slots.room_for(count, conversation=offer.conversation)
        if slot is None or not put_back(self._decoder, slot.index, file, offer.tokens):
            return False
        slot.conversation, slot.adapter = offer.conversation, offer.adapter
        slot.saved, slot.restored = count, True
        slot.exact, slot.shifts = (offer.exact if offer.exact < count else None), offer.shifts
        return True

    def save(self, slot: Slot) -> tuple[dict[str, Any], int] | None:
        """Return what is to be said of a slot's state, and an open file with it; `None` where it is not worth it.

        So it is of a slot of another cache: what runs alone, in one of its own, leaves nothing behind.
        """
        if not self._slots.has(slot):
            return None
        tokens = self._decoder.tokens[slot.index]
        if len(tokens) - slot.saved < max(SAVE_TOKENS, len(tokens) // 8):
            return None
        file = take_out(self._decoder, slot.index)
        if file is None:
            return None
        slot.saved = len(tokens)
        exact = len(tokens) if slot.exact is None else slot.exact
        said = {
            "conversation": slot.conversation,
            "tokens": pack(tokens),
            "exact": exact,
            "shifts": slot.shifts,
            "adapter": slot.adapter,
        }
        return said, file


def take_out(decoder: Decoder, sequence: int) -> int | None:
    """Return an open file with the state of `sequence`; `None` where llama.cpp gives none, or it is too large."""
    size = decoder.state_bytes(sequence)
    if size > MAX_STATE_BYTES:
        return None
    file = os.memfd_create("state", os.MFD_CLOEXEC)
    try:
        os.ftruncate(file, size)
        with mmap.mmap(file, size) as room:
            if decoder.write_state(sequence, _address(room), size) == size:
                return file
    except OSError:  # no memory for it: then it is not saved
        pass
    os.close(file)
    return None


def put_back(decoder: Decoder, sequence: int, file: int, tokens: Sequence[int]) -> bool:
    """Fill the empty `sequence` with a state; return whether there was memory for it and llama.cpp took it.

    Args:
        decoder: Whose cache.
        sequence: Empty, and the cache has room for `tokens`.
        file: Open, with the state.
        tokens: Those the state is of.
    """
    size = os.fstat(file).st_size
    if not size:
        return False
    try:
        # shared, so that it does not count against the memory of this process
        with mmap.mmap(file, size) as room:
            return decoder.read_state(sequence, _address(room), size, tokens)
    except OSError:  # no room for it: the prompt is computed again
        return False


def _address(room: mmap.mmap) -> int:
    start = ctypes.c_char.from_buffer(room)
    address = ctypes.addressof(start)
    del start  # a map with a view on it cannot be closed
    return address
