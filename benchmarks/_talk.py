"""Reading what a model writes, unless it talks on and on."""

from __future__ import annotations

from agentkit.models.base import Completion, Stream


def unless_long(stream: Stream, characters: int) -> Completion | None:
    """Return what a stream comes to; nothing, and cancel it, once it has said so many characters."""
    said = 0
    try:
        while said < characters:
            said += len(next(stream))
    except StopIteration as end:
        completion: Completion = end.value
        return completion
    finally:
        stream.close()
    return None
