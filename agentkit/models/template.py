"""Render a model's own chat template, which came with a downloaded file and is hostile until proven otherwise.

It is rendered inside the locked engine worker, in Jinja's immutable sandbox, with few filters, no clock but a
fixed one, and limits on time, memory and output.
Covered: a template can neither reach Python, nor run on, nor fill the memory; whatever it does wrong is a
`TemplateError`. Text of a message can never become a control token of the model: see `guard`.
Not covered: what a template says. One may still put words into the prompt; the policy assumes a hijacked model.
"""

from __future__ import annotations

import re
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, ClassVar, NoReturn

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agentkit.errors import ModelError
from agentkit.models.formats.choose import (
    AUTO,
    PROBE_CALL,
    PROBE_RESULT,
    PROBE_TOOL,
    Trial,
    choose_format,
    fingerprint,
    thoughts_of,
)
from agentkit.models.formats.listing import spec
from agentkit.models.formats.syntax import dump_json
from agentkit.models.formats.tool_format import ToolFormat

MAX_SOURCE_CHARACTERS = 256 * 1024
MAX_OUTPUT_CHARACTERS = 8 * 1024 * 1024
MAX_RANGE = 10_000
MAX_SECONDS = 1.0
MAX_MEMORY_BYTES = 128 * 1024 * 1024
"""What one rendering may allocate beyond what the process has."""
MAX_NUMBER_BITS = 256
GUARD = "\ufdd0"
"""A code point that is no character (Unicode 3.4): stands inside what would be a control token, until tokenising."""

# fmt: off
_FILTERS = frozenset((
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "indent",
    "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace",
    "reverse", "round", "safe", "select", "selectattr", "slice", "sort", "string", "title", "tojson", "trim", "unique",
    "upper",
))
# fmt: on

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For a model file without a template."""
_QUESTION, _SYSTEM, _ANSWER = "probe-user", "probe-system", "probe-answer"


class TemplateError(ModelError):
    """The chat template failed, or did what none should do."""


class _Generation(Extension):
    """`{% generation %}` marks, for those who train, what the model says; here it means nothing."""

    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox, with arithmetic that cannot explode and few filters."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], cache_size=0
        )
        self.filters = {name: each for name, each in self.filters.items() if name in _FILTERS}
        self.filters["tojson"] = _to_json
        self.globals = {
            "range": _short_range,
            "namespace": self.globals["namespace"],
            "dict": dict,
            "raise_exception": _raise_exception,
            "strftime_now": _fixed_date,
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator in ("**", "*") and numbers:
            bits = _bits(left) + _bits(right) if operator == "*" else _bits(left) * max(1, abs(int(right)))
            if bits > MAX_NUMBER_BITS:
                raise TemplateError("the chat template computes with numbers that are too large")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # noqa: ANN401
        # `format` on strings is what sandbox escapes of the past went through; no template needs it
        return attr not in ("format", "format_map") and super().is_safe_attribute(obj, attr, value)


def _bits(number: float) -> int:
    return int(abs(number)).bit_length() + 1 if abs(number) < 1e300 else MAX_NUMBER_BITS


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TemplateError(f"the chat template counts to more than {MAX_RANGE}")
    return numbers


def _to_json(value: object, indent: int | None = None, **_options: object) -> str:
    if indent is None:
        return dump_json(value)
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(_message: str = "") -> NoReturn:
    # what the template says may quote the conversation, so it is not passed on
    raise TemplateError(
        "the chat template refuses this conversation", hint="its roles must probably alternate"
    )


def _fixed_date(form: str) -> str:
    """Format a fixed day: a clock in the prompt would change its prefix, and nothing could be reused."""
    return time.strftime(form[:64], (2025, 1, 1, 0, 0, 0, 2, 1, 0))


@contextmanager
def _limits() -> Iterator[None]:
    """Bound time and memory of what runs inside; only in the main thread of a process of its own."""

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise TemplateError(f"the chat template ran for more than {MAX_SECONDS:g} s")

    with open("/proc/self/statm") as file:  # noqa: PTH123 - a hot path
        pages = int(file.read().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = pages * resource.getpagesize() + MAX_MEMORY_BYTES
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    timer = (0.0, 0.0)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard < 0 else min(soft, hard), hard))
        timer = signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


class ChatTemplate:
    """One model's chat template, and what a few probes say it can do."""

    def __init__(self, source: str | None, *, bos: str = "", eos: str = "", tool_format: str = AUTO) -> None:
        """Compile `source` and probe it.

        Args:
            source: As in the model file; `None`: ChatML.
            bos: Text of the token that starts a prompt.
            eos: Text of the token that ends a text.
            tool_format: Name of the format for calls; `auto`: the one its probes show.

        Raises:
            ConfigError: There is no such format.
            TemplateError: It cannot be compiled, or renders nothing of a plain question.
        """
        source = CHATML if source is None else source
        if len(source) > MAX_SOURCE_CHARACTERS:
            raise TemplateError(
                f"the chat template has {len(source)} characters, over {MAX_SOURCE_CHARACTERS}"
            )
        self.fingerprint = fingerprint(source)
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._template = self._guarded(lambda: _Sandbox().from_string(source))
        user = {"role": "user", "content": _QUESTION}
        if _QUESTION not in self.render([user]):
            raise TemplateError("the chat template leaves the question out")
        system = {"role": "system", "content": _SYSTEM}
        self.shows_system = _SYSTEM in self._attempt([system, user])
        self.chosen = choose_format(source, self._try(), tool_format)
        self.envelope = thoughts_of(source, self.format)

    @property
    def format(self) -> ToolFormat:
        """How calls are written."""
        return self.chosen.format

    def _try(self) -> Trial:
        """Render a conversation with a tool, a call and a result."""
        tools = [spec(PROBE_TOOL)]
        user = {"role": "user", "content": _QUESTION}
        function = {"name": PROBE_CALL.name, "arguments": PROBE_CALL.arguments}
        call = {"id": "probe0001", "type": "function", "function": function}
        asks = {"role": "assistant", "content": "", "tool_calls": [call]}
        result = {
            "role": "tool",
            "content": PROBE_RESULT,
            "name": PROBE_CALL.name,
            "tool_call_id": "probe0001",
        }
        answers = {"role": "assistant", "content": _ANSWER}
        text = self._attempt([user, asks, result, answers, user], tools)
        calls, shown, _ = (text or self._attempt([user, asks], tools)).partition(PROBE_RESULT)
        plain = self._attempt([user, answers, user]).partition(_QUESTION)[2]
        return Trial(
            tools=self._attempt([user], tools),
            calls=calls.partition(_QUESTION)[2],
            header=plain.partition(_ANSWER)[0],
            shows_result=bool(shown),
        )

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Return the prompt up to where the assistant's next message starts.

        Raises:
            TemplateError: The template refused, failed, or broke a limit.
        """
        values = {"messages": list(messages), "add_generation_prompt": True, **self._tokens}
        if tools:
            values["tools"] = list(tools)
        text: str = self._guarded(lambda: self._join(values))
        return text

    def _join(self, values: Mapping[str, Any]) -> str:
        parts: list[str] = []
        size = 0
        for part in self._template.generate(values):
            size += len(part)
            if size > MAX_OUTPUT_CHARACTERS:
                raise TemplateError(f"the chat template writes more than {MAX_OUTPUT_CHARACTERS} characters")
            parts.append(part)
        return "".join(parts)

    def _attempt(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        try:
            return self.render(messages, tools)
        except TemplateError:
            return ""  # a template may refuse what it has no branch for

    @staticmethod
    def _guarded(act: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            with _limits():
                return act()
        except TemplateError:
            raise
        except JinjaError as error:
            raise TemplateError(f"the chat template cannot be rendered: {type(error).__name__}") from None
        except MemoryError:
            raise TemplateError("the chat template needs too much memory") from None
        except Exception as error:  # noqa: BLE001 - a template may raise anything Python can
            raise TemplateError(f"the chat template failed: {type(error).__name__}") from None


class Guard:
    """Keeps the text of messages from turning into control tokens.

    Inside each control token's spelling in a message stands `GUARD` while the template is rendered; the prompt is
    then cut there and tokenised piece by piece, so that the same text arrives as ordinary tokens.
    """

    def __init__(self, control: Sequence[str]) -> None:
        spellings = sorted({each for each in control if len(each) > 1}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, spellings))) if spellings else None

    def text(self, text: str) -> str:
        """Return `text` with every control token in it broken."""
        text = text.replace(GUARD, "\ufffd")
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: match[0][0] + GUARD + match[0][1:], text)

    def value(self, value: Any) -> Any:  # noqa: ANN401
        """Return a JSON value with every text in it guarded."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.value(each) for key, each in value.items()}
            case list() | tuple():
                return [self.value(each) for each in value]
        return value
