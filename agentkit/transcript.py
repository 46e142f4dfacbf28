"""What was said, append-only.

A transcript is always well-formed: every call has its result, and every turn ends with something the
assistant said. `repair` restores that after a turn was cut off, whether by the user or by a power cut.
Not covered: keeping it. `sink` is given each message as a JSON-able dict; the vault seals it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from agentkit import prompt
from agentkit.errors import ConfigError
from agentkit.labels import Labels, Origin, join_all
from agentkit.messages import Message, Role, ToolCall

TranscriptSink = Callable[[dict[str, Any]], object]
"""Is given each message as it is appended; returns when it is kept."""


class Transcript(Sequence[Message]):
    """The messages of one conversation, oldest first."""

    def __init__(self, messages: Iterable[Message] = (), *, sink: TranscriptSink | None = None) -> None:
        self._messages = list(messages)
        self._sink = sink

    @classmethod
    def load(cls, stored: Iterable[Mapping[str, Any]], *, sink: TranscriptSink | None = None) -> Transcript:
        """Read what a sink was given, and close a turn that was cut off.

        Raises:
            ConfigError: A stored message has another shape.
        """
        transcript = cls((from_dict(each) for each in stored), sink=sink)
        transcript.repair(prompt.CUT_OFF)
        return transcript

    def append(self, message: Message) -> None:
        """Keep `message`; it is handed to the sink before it counts as said."""
        if self._sink is not None:
            self._sink(to_dict(message))
        self._messages.append(message)

    def open_calls(self) -> list[ToolCall]:
        """Return the calls that have no result yet, oldest first."""
        answered: set[str] = set()
        for message in reversed(self._messages):
            if message.role is Role.TOOL and message.call_id is not None:
                answered.add(message.call_id)
            elif message.role is Role.ASSISTANT:
                return [call for call in message.calls if call.id not in answered]
            elif message.role is Role.USER:
                break
        return []

    def repair(self, reason: str) -> None:
        """Give every open call a result and an unanswered turn an end; do nothing to a finished turn.

        Args:
            reason: Model-visible text, from `agentkit.prompt`.
        """
        for call in self.open_calls():
            self.append(Message.tool(call, reason, self.labels()))
        if self._messages and (self._messages[-1].role is not Role.ASSISTANT):
            self.append(Message.assistant(reason, self.labels().join(Labels(Origin.MODEL))))

    def labels(self) -> Labels:
        """Return the joined labels of everything said so far."""
        return join_all(message.labels for message in self._messages)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        return self._messages[index]

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def to_dict(message: Message) -> dict[str, Any]:
    """Return the JSON-able form of a message; `from_dict` reads it back unchanged."""
    kept: dict[str, Any] = {
        "role": message.role.value,
        "text": message.text,
        "labels": message.labels.to_wire(),
    }
    if message.calls:
        kept["calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in message.calls]
    if message.call_id is not None:
        kept["call_id"] = message.call_id
    if message.name is not None:
        kept["name"] = message.name
    return kept


def from_dict(value: Mapping[str, Any]) -> Message:
    """Read what `to_dict` wrote.

    Raises:
        ConfigError: The value has another shape.
    """
    try:
        return Message(
            role=Role(value["role"]),
            text=_text(value["text"]),
            labels=Labels.from_wire(value["labels"]),
            calls=tuple(
                ToolCall(_text(c["id"]), _text(c["name"]), dict(c["arguments"]))
                for c in value.get("calls", ())
            ),
            call_id=value.get("call_id"),
            name=value.get("name"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError("a stored message has another shape") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
