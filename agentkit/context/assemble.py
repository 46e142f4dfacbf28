"""Make one prompt out of a conversation: budget, window, compression; every token owned.

Order: system prompt and pinned tools (the stable prefix), the turns that still fit, then one message with the
tools chosen for this request, the passages and the question. This layout is what adapters are trained on
(`tests/agentkit/models/test_layout.py` holds it word for word).
Never cut: the system prompt, the tools, the question. Cut and marked `[...]`: tool results and passages over
their budget. Dropped whole and counted: the oldest turns. What then does not fit is an error with the
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agentkit import prompt
from agentkit.context.budget import Budget, Ledger
from agentkit.context.compress import Embeds, compress, compress_all
from agentkit.context.window import Turn, fit, split_turns
from agentkit.errors import ContextOverflowError
from agentkit.events import Prompted
from agentkit.labels import Labels, join_all
from agentkit.messages import Evidence, Message, Role, ToolSpec
from agentkit.models.base import Model

SMALLEST_RESULT_TOKENS = 16


Frame = Callable[[str, Sequence[Evidence]], str]
"""Puts the user's words and the passages for them into one text."""


@dataclass(frozen=True, slots=True)
class Window:
    """One prompt, ready for the model."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    ledger: Ledger
    window_tokens: int
    dropped_turns: int
    evidence: tuple[Evidence, ...]
    """As shown to the model: quotes cut down to what was read."""

    @property
    def labels(self) -> Labels:
        """The joined labels of everything in it."""
        return join_all(message.labels for message in self.messages)

    @property
    def origins(self) -> frozenset[str]:
        """Who wrote what the model is about to read."""
        return frozenset(message.labels.origin.value for message in self.messages)

    @property
    def report(self) -> Prompted:
        """The event that says what each part costs."""
        return Prompted(
            ledger=self.ledger.as_dict(),
            window_tokens=self.window_tokens,
            dropped_turns=self.dropped_turns,
            tools=tuple(tool.name for tool in self.tools),
        )


class Context:
    """Fits conversations into the window of one model."""

    def __init__(
        self,
        model: Model,
        *,
        system: str = prompt.ASSISTANT,
        frame: Frame = prompt.question,
        budget: Budget | None = None,
        embedder: Embeds | None = None,
    ) -> None:
        self._model = model
        self._system = Message.system(system)
        self._frame = frame
        self.budget = budget or Budget.of(model.context_tokens)
        self._embedder = embedder

    def fit(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        evidence: Sequence[Evidence] = (),
    ) -> Window:
        """Make the prompt for the turn that is going on.

        Args:
            messages: The whole conversation, oldest first; its last turn is the one to answer.
            tools: What the model may call.
            evidence: Passages for the question of this turn, best first.

        Raises:
            ContextOverflowError: System prompt, tools and question alone exceed the window.
            ValueError: There is no turn to answer.
        """
        turns = split_turns(messages)
        if not turns:
            raise ValueError("there is nothing to answer")
        earlier, current = turns[:-1], turns[-1]
        room = self.budget.window - self.budget.reply
        tools = tuple(sorted(tools, key=lambda tool: tool.name))

        system = self._count(Message.user(""))
        current = self._shorten(current, self.budget.result)
        result_tokens = self.budget.result
        while True:
            bare = self._count(*current)
            with_tools = self._count(*current, tools=tools)
            if with_tools <= room:
                break
            result_tokens //= 2
            if len(current) == 1 or result_tokens < SMALLEST_RESULT_TOKENS:
                raise self._overflow(with_tools, len(tools))
            current = self._shorten(current, result_tokens)

        shown = self._passages(current[0].text, evidence, min(self.budget.evidence, room - with_tools))
        question, shown, with_evidence = self._with_passages(current, shown, tools, room)

        earlier = [self._shorten(turn, self.budget.result) for turn in earlier]
        kept = fit(earlier, room - with_evidence, lambda turn: self._count(*turn) - system)
        while True:
            history = [message for turn in kept for message in turn]
            everything = (self._system, *history, question, *current[1:])
            total = self._model.count(everything, tools)
            if total <= room or not kept:
                break
            kept = kept[1:]  # a template may cost more between turns than each turn costs alone
        ledger = Ledger(
            system=system,
            tools=with_tools - bare,
            question=bare - system,
            evidence=with_evidence - with_tools,
            history=total - with_evidence,
            reply=self.budget.reply,
        )
        return Window(everything, tools, ledger, self.budget.window, len(earlier) - len(kept), tuple(shown))

    def _count(self, *messages: Message, tools: Sequence[ToolSpec] = ()) -> int:
        return self._model.count((self._system, *messages), tools)

    def _shorten(self, turn: Turn, budget_tokens: int) -> Turn:
        """Cut each tool result of a turn down to what its question needs."""
        return tuple(
            replace(message, text=self._short(message.text, turn[0].text, budget_tokens))
            if message.role is Role.TOOL
            else message
            for message in turn
        )

    def _short(self, text: str, question: str, budget_tokens: int) -> str:
        if len(text) <= budget_tokens:
            return text  # no token is shorter than a character
        return compress(text, question, budget_tokens, self._model.count_text, embedder=self._embedder).text

    def _passages(
        self, question: str, evidence: Sequence[Evidence], budget_tokens: int
    ) -> tuple[Evidence, ...]:
        """Cut the passages down to one budget and leave out those of which nothing is left."""
        if not evidence or budget_tokens <= 0:
            return ()
        cut = compress_all(
            [each.quote for each in evidence],
            question,
            budget_tokens,
            self._model.count_text,
            embedder=self._embedder,
        )
        return tuple(replace(each, quote=c.text) for each, c in zip(evidence, cut, strict=True) if c.text)

    def _with_passages(
        self, current: Turn, shown: tuple[Evidence, ...], tools: Sequence[ToolSpec], room: int
    ) -> tuple[Message, tuple[Evidence, ...], int]:
        """Put passages and question into one message; leave the weakest passages out until it fits."""
        while True:
            question = replace(
                current[0],
                text=self._frame(current[0].text, shown),
                labels=current[0].labels.join(*(each.labels for each in shown)),
            )
            tokens = self._count(question, *current[1:], tools=tools)
            if tokens <= room or not shown:
                return question, shown, tokens
            shown = shown[:-1]

    def _overflow(self, needed: int, tools: int) -> ContextOverflowError:
        wanted = needed + self.budget.reply
        larger = max(1024, 1 << (wanted - 1).bit_length())
        parts = f"system prompt, {tools} tools and question" if tools else "system prompt and question"
        instead = ", or offer fewer tools" if tools else ", or ask in fewer words"
        return ContextOverflowError(
            f"{parts} need {wanted} tokens, the reply included, but the window holds {self.budget.window}",
            hint=f"agentkit models levers MODEL --context {larger}{instead}",
        )
