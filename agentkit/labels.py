"""Labels: who wrote a text, and how private it is.

Every message, tool result and record carries labels from the first day, so that a rule can be added later
without touching what was stored before. They cross package borders as plain strings.

Joining is pessimistic: a text made from two others is as untrusted as the less trusted and as private as the
more private of them. Nothing lowers a label but an explicit act of the user.
Source: FIDES, Costa et al. 2025 (information-flow control for agents); `docs/adr/0006-labels.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """Who wrote it, most trusted first."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"
    TOOL = "tool"
    DOCUMENT = "document"


class Privacy(StrEnum):
    """How private it is, most public first."""

    PUBLIC = "public"
    PRIVATE = "private"
    SECRET = "secret"  # noqa: S105 - a label, no password


_TRUST = list(Origin)
_PRIVACY = list(Privacy)


@dataclass(frozen=True, slots=True)
class Labels:
    """Who wrote a text, how private it is, and which records it was made from."""

    origin: Origin = Origin.USER
    privacy: Privacy = Privacy.PRIVATE
    sources: tuple[str, ...] = ()
    """Record ids, sorted and without repeats: what must be forgotten with them."""

    def join(self, *others: Labels) -> Labels:
        """Return the labels of a text made from this one and `others`."""
        every = (self, *others)
        return Labels(
            origin=max((each.origin for each in every), key=_TRUST.index),
            privacy=max((each.privacy for each in every), key=_PRIVACY.index),
            sources=tuple(sorted({source for each in every for source in each.sources})),
        )

    def to_wire(self) -> list[object]:
        """Return the plain form that crosses process borders."""
        return [self.origin.value, self.privacy.value, list(self.sources)]

    @classmethod
    def from_wire(cls, value: object) -> Labels:
        """Read what `to_wire` wrote.

        Raises:
            ValueError: The value has another shape.
        """
        match value:
            case [str(origin), str(privacy), [*sources]] if all(isinstance(each, str) for each in sources):
                return cls(Origin(origin), Privacy(privacy), tuple(map(str, sources)))
        raise ValueError("labels have another shape")


def join_all(labels: Iterable[Labels], start: Labels = Labels(Origin.SYSTEM, Privacy.PUBLIC)) -> Labels:
    """Join any number of labels; of none, the most trusted and most public."""
    return start.join(*labels)


_CALL: ContextVar[Labels] = ContextVar("call", default=Labels(Origin.DOCUMENT, Privacy.SECRET))  # noqa: B039 - frozen


@contextmanager
def calling_with(labels: Labels) -> Iterator[None]:
    """Let a tool that runs inside know the labels of its arguments; see `call_labels`."""
    token = _CALL.set(labels)
    try:
        yield
    finally:
        _CALL.reset(token)


def call_labels() -> Labels:
    """Return the labels of the arguments a tool was called with: of all the model had read when it wrote them.

    Outside of a turn nothing is known of them, and they are the least trusted and most private.
    """
    return _CALL.get()
