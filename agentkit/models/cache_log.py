"""What was done to a cache, without a word of what it holds: enough to bring another one to the same numbers.

What a model computes for one sequence depends in its last digits on the shape of every batch and on where in the cache
keys and values lie, and so on what was done for others before; not on what their tokens were. So that is written down:
which sequence, how many tokens, which rows of logits. A run of equal steps is one entry.
Not covered: mixtures of experts, where others' tokens decide which rows are multiplied together.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentkit.errors import ConfigError

FORMAT = 1
MAX_ENTRIES = 4096
MAX_TOKENS = 65_536
"""More than this since the cache was last empty is not written down: to do it all again would take too long."""
MAX_RECORD_BYTES = 1 << 20
DECODE, KEEP, COPY = range(3)

Entry = tuple[int, ...]
"""How often, what, and its numbers: for each sequence of a batch its number, tokens, and whether logits are wanted; the
sequence that is cut and what of it is kept; source, target and count of a copy."""


class CacheLog:
    """Everything that was done to one cache since it was last empty."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._tokens = 0
        self._closed = True
        self.whole = True
        """Whether nothing is missing."""

    def clear(self) -> None:
        """Begin anew: the cache is empty."""
        self._entries, self._tokens, self._closed = [], 0, True
        self.whole = True

    @property
    def nearly_full(self) -> bool:
        """Whether the next answers may find no room; a quarter is left."""
        return 4 * len(self._entries) > 3 * MAX_ENTRIES or 4 * self._tokens > 3 * MAX_TOKENS

    def lose(self) -> None:
        """Say that something was done which cannot be written down."""
        self.clear()
        self.whole = False

    def decoded(self, pieces: Sequence[tuple[int, int, bool]]) -> None:
        """Note a batch: for each sequence in it its number, its tokens and whether logits are wanted."""
        self._tokens += sum(count for _, count, _ in pieces)
        self._add((DECODE, *(int(number) for piece in pieces for number in piece)))

    def kept(self, sequence: int, count: int) -> None:
        """Note that all behind the first `count` tokens of a sequence was dropped."""
        self._add((KEEP, sequence, count))

    def copied(self, source: int, target: int, count: int) -> None:
        """Note that `target` began with so many tokens of `source`."""
        self._add((COPY, source, target, count))

    def mark(self) -> int:
        """Return how many entries there are; what comes next is an entry of its own."""
        self._closed = True
        return len(self._entries)

    def entries(self) -> tuple[Entry, ...]:
        """Return all there is by now."""
        return tuple(self._entries)

    def _add(self, what: Entry) -> None:
        if not self.whole:
            return
        if len(self._entries) >= MAX_ENTRIES or self._tokens > MAX_TOKENS:
            self.lose()
        elif not self._closed and self._entries[-1][1:] == what:
            self._entries[-1] = (self._entries[-1][0] + 1, *what)
        else:
            self._entries.append((1, *what))
            self._closed = False


@dataclass(frozen=True, slots=True)
class Record:
    """How one answer was computed: batches and where cached tokens came from, without any text."""

    sequence: int
    start: int
    """How many entries were there when it began."""
    reused: int
    origin: str
    """`cold`, `reused` or `copied`: where those came from."""
    entries: tuple[Entry, ...]

    def pack(self, *, engine: str, request: str) -> bytes:
        """Return it as bytes, bound to digests of the engine's settings and of the request."""
        fields = {"format": FORMAT, "engine": engine, "request": request, **asdict(self)}
        return zlib.compress(json.dumps(fields, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpack(cls, data: bytes, *, engine: str, request: str, streams: int, batch_tokens: int) -> Record:
        """Read what `pack` wrote, which may have come from anywhere since.

        Raises:
            ConfigError: It is damaged, or of another engine or request.
        """
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(data, MAX_RECORD_BYTES)
            if not unpacker.eof:
                raise ValueError("too long, or cut")
            fields = json.loads(text)
            if fields["format"] != FORMAT:
                raise ConfigError("the record is of another version of agentkit")
            bound = fields["engine"], fields["request"]
            entries = tuple(_entry(each, streams, batch_tokens) for each in fields["entries"])
            record = cls(
                _number(fields["sequence"], streams - 1),
                _number(fields["start"], len(entries)),
                _number(fields["reused"], MAX_TOKENS),
                str(fields["origin"])[:20],
                entries,
            )
        except (zlib.error, ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError("the record is damaged") from None
        if bound[0] != engine:
            raise ConfigError(
                "the record is of an engine with another model or other settings",
                hint="replay it with the model, threads, streams and levers it was made with",
            )
        if bound[1] != request:
            raise ConfigError("the record is of another request", hint="give the same messages and sampling")
        return record


def digest(*parts: object) -> str:
    """Return what two records must have alike to be of the same thing."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).hexdigest()


def _entry(value: Any, streams: int, batch_tokens: int) -> Entry:  # noqa: ANN401 - from JSON
    numbers = tuple(_number(each, MAX_TOKENS) for each in value)
    times, what, *rest = numbers
    if what == DECODE:
        sequences, counts = rest[0::3], rest[1::3]
        fits = len(rest) % 3 == 0 and len(set(sequences)) == len(sequences) > 0 and min(counts) > 0
        fits = fits and sum(counts) <= batch_tokens and sum(counts) * times <= MAX_TOKENS
    else:
        fits = (what, len(rest)) in ((KEEP, 2), (COPY, 3)) and times == 1
        sequences = rest[: 1 if what == KEEP else 2]
    if not fits or max(sequences) >= streams:
        raise ValueError("no entry of a log")
    return numbers


def _number(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no number in its range")
    return value
