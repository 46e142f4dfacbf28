"""What of a model's vocabulary means something to its template and its format.

Covered: a control token is a mark, and the letters it is spelt with are not; where the vocabulary has no such token,
the letters are.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.models.formats.marks import as_token, cut, with_tokens
from agentkit.models.formats.tool_format import Envelope
from agentkit.models.template import ChatTemplate, Guard
from agentkit.models.textstream import TextStream
from agentkit.models.vocabulary import Vocabulary


class Markup:
    """A template's marks in one vocabulary."""

    def __init__(self, template: ChatTemplate, vocabulary: Vocabulary) -> None:
        special = vocabulary.special
        envelope = template.envelope
        marks = (*template.format.marks, *(envelope.marks if envelope else ()))
        self._format = template.format
        self._envelope = envelope
        self._special = special
        self.tokens = {
            token: piece for mark in marks for piece, token in cut(mark, special) if token is not None
        }
        """The tokens that are marks, with their spelling."""
        control = [text for text, token in special.items() if vocabulary.model.is_control(token)]
        self.guard = Guard([*control, *self.tokens.values()])

    def thinks(self, prompt: str) -> bool:
        """Return whether a prompt ends within the model's thoughts."""
        opening = self._envelope.thought_opening if self._envelope else ""
        return bool(opening) and prompt.rstrip().endswith(opening)

    def unthinking(self, prompt: str, *, call: bool) -> str:
        """Return what ends a prompt so that a call, or else an answer, comes next without a thought."""
        if self._envelope is None:
            return ""
        if self._envelope.answer_opening:
            return "" if call else self._envelope.answer_opening
        return f"\n{self._envelope.thought_closing}\n\n" if self.thinks(prompt) else ""

    def stream(
        self,
        stops: Sequence[str],
        *,
        tools: bool,
        results: bool,
        thoughts: bool,
        thinking: bool,
        calls: bool = True,
    ) -> TextStream:
        """Return what takes a message of this format.

        Args:
            stops: End the text.
            tools: Its prompt shows tools, or calls of them: where a call begins, the text ends.
            results: Its prompt shows how results are written, or results: a small model may go on with its own.
            thoughts: It may begin with thoughts, and its answer stand in a frame.
            thinking: The prompt has opened the thoughts already.
            calls: It may hold calls, if `tools`.
        """
        around, special = self._envelope if thoughts else None, self._special
        mine = [as_token(stop) for stop in self._format.stop if stop in special]
        if results:
            around_result = (self._format.result_opening.strip(), self._format.result_closing.strip())
            mine += [with_tokens(each, special) for each in around_result if each]
        return TextStream(
            (*stops, *mine),
            with_tokens(self._format.trigger, special) if tools else None,
            calls=calls,
            leading=self._format.leading,
            envelope=None
            if around is None
            else Envelope(*(with_tokens(each, special) for each in around.marks)),
            thinking=thinking,
        )
