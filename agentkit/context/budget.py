"""Who may use how much of the window, and who used it: every token has one owner."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from agentkit.errors import ConfigError

SMALLEST_WINDOW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """How a window is shared out; the history takes what system, tools, question and evidence leave."""

    window: int
    """Tokens of prompt and reply together."""
    reply: int
    """Kept free for the answer."""
    evidence: int
    """At most this much for passages from memory."""
    result: int
    """At most this much for one tool result; a longer one is cut down to what matters, and marked."""

    def __post_init__(self) -> None:
        """Refuse shares that cannot work."""
        if self.window < SMALLEST_WINDOW_TOKENS:
            raise ConfigError(
                f"a window of {self.window} tokens is under the least of {SMALLEST_WINDOW_TOKENS}",
                hint="agentkit models levers MODEL --context 4096",
            )
        if not 1 <= self.reply < self.window or self.evidence < 0 or self.result < 1:
            raise ConfigError(f"the parts of the window do not fit in its {self.window} tokens")

    @classmethod
    def of(cls, window_tokens: int) -> Budget:
        """Share out a window; evidence stays under 1,000 tokens, more only confuses a small model."""
        return cls(
            window=window_tokens,
            reply=min(512, max(1, window_tokens // 4)),
            evidence=min(800, window_tokens // 4),
            result=min(600, max(1, window_tokens // 5)),
        )


@dataclass(frozen=True, slots=True)
class Ledger:
    """What each part of one prompt costs, in tokens; the parts add up to the whole prompt and the reply."""

    system: int
    """The system prompt and the frame of the chat template."""
    tools: int
    question: int
    """What the user asked in this turn, and the calls and results of the turn so far."""
    evidence: int
    history: int
    reply: int
    """Kept free for the answer."""

    @property
    def prompt(self) -> int:
        """Tokens of the prompt as the model counts them."""
        return self.system + self.tools + self.question + self.evidence + self.history

    @property
    def total(self) -> int:
        """Tokens of the prompt and the room for the reply."""
        return self.prompt + self.reply

    def as_dict(self) -> dict[str, int]:
        """Return part → tokens, for `Prompted`."""
        return asdict(self)
