"""The computed state of a conversation outside of the engine: what it belongs to, and who keeps it.

A state is the keys and values of one sequence, as llama.cpp writes them. It *is* the prompt, so whoever keeps it
seals it (`agentkit.core.kv_store`). It crosses between core and worker as an open file without a name, beside a frame.
Covered: a state serves only the model, the build and the settings it was made with; anything else is a `Misfit`, and
the prompt is computed again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.errors import EngineError

if TYPE_CHECKING:
    from agentkit.models.connection import Connection

SAVE_TOKENS = 256
"""A state is saved once so many of its tokens, and an eighth of them, are in no saved one."""
RESTORE_TOKENS = 64
"""A state is put back if it holds at least so much more of a prompt than the cache does."""
MAX_STATE_BYTES = 2 << 30
"""A larger one is not even taken out of the cache; see `agentkit.core.kv_store.LIMIT_BYTES`."""


class Misfit(StrEnum):
    """Why a saved state was not used."""

    MODEL = "it was made by another model"
    LIBRARY = "it was made by another build of llama.cpp"
    SETTINGS = "it was made with other settings"
    DAMAGED = "it was changed, cut, or sealed under another key"
    STORAGE = "it could not be read"
    ENGINE = "llama.cpp did not take it"


class StateRefusedError(EngineError):
    """A saved state cannot be used; never the user's concern, for the prompt is computed again."""

    def __init__(self, reason: Misfit) -> None:
        super().__init__(f"the saved state was refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything the bytes of a state depend on."""

    model: str
    """SHA-256 of the model file, its size and time of change."""
    library: str
    """Which build of llama.cpp; see `agentkit.models.probe.library_key`."""
    context_tokens: int
    k_type: str
    v_type: str
    flash_attention: bool
    window: str
    adapter: str
    """`Applied.key` of the adapter that changed the weights; empty: none did."""

    def misfit(self, other: Shape) -> Misfit | None:
        """Return why a state of shape `other` cannot be used where this one is wanted; `None`: it can."""
        if other.model != self.model:
            return Misfit.MODEL
        if other.library != self.library:
            return Misfit.LIBRARY
        return None if other == self else Misfit.SETTINGS

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_wire(cls, value: dict[str, Any]) -> Shape:
        """Read what `to_wire` wrote; `KeyError` where something is missing."""
        return cls(**{each.name: value[each.name] for each in fields(cls)})


@dataclass(frozen=True, slots=True)
class State:
    """What is to be known of a state beside its bytes."""

    conversation: str
    shape: Shape
    tokens: bytes
    """The ledger: little-endian int32 each."""
    exact: int
    """How many of the tokens are what a fresh computation would give."""
    shifts: int
    """How often the window was shifted since all was."""
    sources: tuple[str, ...] = ()
    """Ids of the records it was made from."""


class Found(Protocol):
    """A saved state, its head read."""

    @property
    def state(self) -> State:
        """What it is."""
        ...

    def open(self) -> int:
        """Return an open file with its bytes, which the caller closes.

        Raises:
            StateRefusedError: It is damaged after all.
        """
        ...

    def close(self) -> None:
        """Let go of it; safe to call twice."""
        ...


class Keeper(Protocol):
    """Keeps states for one engine; `agentkit.core.kv_store` has one. Called from several threads."""

    def find(self, conversation: str, shape: Shape) -> Found | None:
        """Return the state of a conversation; `None` where there is none.

        Raises:
            StateRefusedError: There is one that does not fit; it is gone now.
        """
        ...

    def save(self, state: State, file: int) -> None:
        """Keep a state instead of the conversation's older one, soon; never raises.

        Args:
            state: What it is.
            file: Open file with its bytes; the keeper closes it.
        """
        ...


def pack(tokens: Collection[int]) -> bytes:
    """Return a ledger as it crosses and is kept."""
    packed = array("i", tokens)
    return packed.tobytes()


def unpack(data: bytes) -> list[int]:
    """Read what `pack` wrote; `ValueError` for another length than whole tokens."""
    tokens = array("i")
    tokens.frombytes(data)
    return tokens.tolist()


class Resume:
    """The state of one conversation on its way back into the engine, for one answer."""

    def __init__(self, keeper: Keeper, conversation: str, shape: Callable[[], Shape]) -> None:
        """Prepare; nothing is read yet.

        Args:
            keeper: Has the state, if there is one.
            conversation: Whose.
            shape: What it has to be; asked once the worker runs.
        """
        self._keeper = keeper
        self._conversation = conversation
        self._shape = shape
        self._found: Found | None = None
        self.misfit = ""
        """Why a state that was there was not used; empty where none was, or it was used."""

    def offer(self) -> dict[str, Any]:
        """Return what to add to the request: the ledger of the state, so that the worker can see what it is worth."""
        try:
            self._found = self._keeper.find(self._conversation, self._shape())
        except StateRefusedError as error:
            self.misfit = str(error.reason)
        kept = self._found.state if self._found else None
        return {"saves": True, "kept": kept and [kept.tokens, kept.exact, kept.shifts]}

    def hand_over(self, connection: Connection, number: int) -> None:
        """Give the worker what it asked for, or the word that it has to do without."""
        import os

        file = None
        try:
            file = self._found.open() if self._found else None
        except StateRefusedError as error:
            self.misfit = str(error.reason)
        try:
            files = [] if file is None else [file]
            connection.forget(connection.send("state", {"of": number}, fds=files))
        finally:
            if file is not None:
                os.close(file)

    def close(self) -> None:
        """Let go of the state."""
        if self._found is not None:
            self._found.close()
