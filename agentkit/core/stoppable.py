"""The engine as one turn of one conversation sees it: a model whose completions end when the client wants no more."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from agentkit.core.server import Session
from agentkit.messages import Message, ToolSpec
from agentkit.models.base import NONE, Completion, Sampling, Stream, ToolChoice

if TYPE_CHECKING:
    from agentkit.models.engine import Engine
    from agentkit.models.stream import EngineStream


class Stoppable:
    """A model for one turn."""

    def __init__(self, model: Engine, session: Session, conversation: str | None = None) -> None:
        """Wrap an engine.

        Args:
            model: Outlives the turn.
            session: Says when the client wants no more.
            conversation: Whose turn it is; `None`: of none, and nothing that was computed is found again by name.
        """
        self._model = model
        self._session = session
        self._conversation = conversation

    @property
    def name(self) -> str:
        """As in the catalogue or store."""
        return self._model.name

    @property
    def context_tokens(self) -> int:
        """Size of the window."""
        return self._model.context_tokens

    def count(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """Count the tokens of the whole prompt."""
        return self._model.count(messages, tools)

    def count_text(self, text: str) -> int:
        """Count the tokens of a bare text."""
        return self._model.count_text(text)

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        choice: ToolChoice = NONE,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Stream:
        """Generate the next message of the conversation; see `Model.complete`."""
        stream = self._model.complete(
            messages,
            tools=tools,
            choice=choice,
            sampling=sampling,
            schema=schema,
            conversation=self._conversation,
        )
        return self._watched(stream)

    def _watched(self, stream: EngineStream) -> Generator[str, None, Completion]:
        # a prompt may be read for seconds, and a call written, before there is a next piece: so `cancel`, too
        with self._session.stopping(stream.cancel):
            try:
                while True:
                    self._session.check()
                    piece = next(stream)
                    if piece:
                        yield piece
            except StopIteration as done:
                self._session.check()
                completion: Completion = done.value
                return completion
            finally:
                stream.close()

    def close(self) -> None:
        """Do nothing: the engine outlives the turn."""
