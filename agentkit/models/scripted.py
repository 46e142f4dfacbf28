"""A `Model` that says what it was told to say: for tests, examples and demonstrations without weights.

It counts words as tokens, keeps to the window, streams word by word, honours stop strings and budgets, and refuses
what the real engine refuses, so that code which works with it works with a real model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agentkit.errors import ConfigError, ContextOverflowError, EngineError
from agentkit.messages import Message, ToolCall, ToolSpec, Usage
from agentkit.models.base import NONE, Completion, Refusal, Sampling, StopReason, Stream, ToolChoice
from agentkit.models.textstream import TextStream
from agentkit.models.validate import check_text

Reply = str | Sequence[ToolCall] | Refusal
"""A text, the calls of one message, or calls as invalid as a model without a grammar may write them."""
Script = Reply | Callable[[Sequence[Message]], Reply]
"""A reply, or what makes one of the messages."""


class ScriptedModel:
    """Gives the scripted replies in order, one a completion."""

    def __init__(
        self, replies: Sequence[Script], *, context_tokens: int = 4096, name: str = "scripted"
    ) -> None:
        """Take the script.

        Args:
            replies: One a completion; after the last one, `EngineError`.
            context_tokens: Size of the window, in words.
            name: What to call it.
        """
        self._replies = list(replies)
        self._context_tokens = context_tokens
        self._name = name
        self.prompts: list[tuple[Message, ...]] = []
        """What it was shown, one entry a completion."""

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @property
    def context_tokens(self) -> int:
        """Size of the window."""
        return self._context_tokens

    def count(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> int:
        """Count words, four more for every message, and the words of every tool."""
        counted = sum(
            4
            + self.count_text(message.text)
            + sum(self.count_text(json.dumps(call.arguments)) + 2 for call in message.calls)
            for message in messages
        )
        return counted + sum(
            self.count_text(f"{tool.name} {tool.description} {json.dumps(tool.parameters)}") for tool in tools
        )

    def count_text(self, text: str) -> int:
        """Count words."""
        return len(text.split())

    def complete(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        choice: ToolChoice = NONE,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
    ) -> Stream:
        """Give the next reply; see `Model.complete`.

        Raises:
            EngineError: The script has ended, or calls what was not offered, or speaks where it must call.
        """
        sampling = sampling or Sampling()
        if choice.mode not in ("none", "auto") and not tools:
            raise ConfigError("a call is required, but there are no tools")
        if schema is not None and tools and choice.mode != "none":
            raise ConfigError("tools and a response schema cannot bind the same text", hint="ask twice")
        prompt = self.count(messages, tools)
        if prompt + sampling.max_tokens > self._context_tokens:
            raise ContextOverflowError(
                f"the prompt needs {prompt} tokens and the answer up to {sampling.max_tokens}, "
                f"but the window holds {self._context_tokens}"
            )
        self.prompts.append(tuple(messages))
        if not self._replies:
            raise EngineError("the script has ended")
        script = self._replies.pop(0)
        reply = script(messages) if callable(script) else script
        if isinstance(reply, str):
            if choice.mode in ("required", "named"):
                raise EngineError("the script speaks where it must call")
            said = yield from self._speak(reply, prompt, sampling)
            return said if schema is None else replace(said, refused=check_text(said.text, schema))
        if isinstance(reply, Refusal):
            return Completion("", (), StopReason.END, Usage(prompt, 1), refused=reply)
        calls = tuple(reply)
        offered = {tool.name for tool in tools if choice.mode == "auto" or choice.name in (None, tool.name)}
        for call in calls:
            if choice.mode == "none" or call.name not in offered:
                raise EngineError(f"the script calls {call.name!r}, which was not offered")
        words = sum(self.count_text(json.dumps(call.arguments)) + 1 for call in calls)
        return Completion("", calls, StopReason.END, Usage(prompt, words))

    def _speak(self, text: str, prompt: int, sampling: Sampling) -> Stream:
        stream = TextStream(sampling.stop)
        stop, words = StopReason.END, 0
        for piece in _words(text):
            if words == sampling.max_tokens:
                stop = StopReason.LENGTH
                break
            words += 1
            if shown := stream.feed(piece.encode()):
                yield shown
            if stream.stopped:
                stop = StopReason.STOP
                break
        if rest := stream.finish():
            yield rest
        return Completion(stream.text, (), stop, Usage(prompt, words))

    def close(self) -> None:
        """Do nothing; there is nothing to free."""


def _words(text: str) -> list[str]:
    """Cut `text` before each run of white space; joined, the pieces are the text."""
    pieces: list[str] = []
    for index, character in enumerate(text):
        if not pieces or (character.isspace() and not text[index - 1].isspace()):
            pieces.append("")
        pieces[-1] += character
    return pieces
