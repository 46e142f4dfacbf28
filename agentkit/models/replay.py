"""Do again what a record says, in a cache of its own, so that an answer comes out as it did the first time.

Every batch is decoded in the shape it had, at the place in the cache it had. What the sequence of the answer began with
is known from its prompt, whoever computed it; all other tokens stand for those of other requests and are token 0.
Covered: the same tokens as the first time, on the same machine with the same engine.
Not covered: mixtures of experts; a state that was restored (there is no record of an answer that used one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agentkit.errors import AgentkitError, ConfigError, EngineError
from agentkit.models.adapters import Applied
from agentkit.models.base import StopReason
from agentkit.models.cache_log import COPY, DECODE, KEEP, Entry, Record
from agentkit.models.decoder import Aborted, Decoder, Piece, Watch
from agentkit.models.generate import Generation

_ANY = 0


class Replay:
    """One record being done again, a batch a step."""

    def __init__(
        self,
        decoder: Decoder,
        generation: Generation,
        record: Record,
        *,
        adapter: Applied | None,
        cancelled: Callable[[], bool],
        done: Callable[[AgentkitError | None], None],
    ) -> None:
        """Begin; nothing is decoded yet.

        Args:
            decoder: Like the one the record was made with, and empty.
            generation: Writes the answer; not started.
            record: What to do.
            adapter: What changed the weights.
            cancelled: Whether to stop.
            done: Told once, when it is over or has failed.
        """
        self.busy = True
        """Whether there is anything left to do."""
        self._decoder = decoder
        self._generation = generation
        self._record = record
        self._adapter = adapter
        self._cancelled = cancelled
        self._done = done
        self._watch: Watch = lambda: False
        self._batches = self._run()

    def step(self, watch: Watch) -> None:
        """Decode one batch; see `Scheduler.step`."""

        def stop() -> bool:  # whatever `watch` says: it knows of no place in the cache that is this one's
            watch()
            return self._cancelled()

        self._watch = stop
        watch()
        error: AgentkitError | None = None
        try:
            if not self._cancelled():
                next(self._batches)
                return
        except StopIteration:
            pass
        except AgentkitError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - as in `Scheduler`: the others go on
            error = EngineError(f"the engine failed: {type(problem).__name__}")
        self.busy = False
        self._generation.finish(StopReason.CANCELLED)
        self._done(error)

    def _run(self) -> Iterator[None]:
        generation, record, decoder = self._generation, self._record, self._decoder
        known = _known(record, generation.prompt, len(decoder.tokens))
        decoder.adapt(self._adapter)
        serial, begun = 0, False
        for index, what in _unrolled(record.entries):
            if index >= record.start and not begun:
                begun = True
                generation.start(record.reused, record.origin)
            if what[0] == KEEP:
                decoder.keep(what[1], what[2])
                continue
            if what[0] == COPY:
                decoder.copy(*what[1:])
                continue
            pieces = []
            for sequence, count, logits in _pieces(what):
                tokens = [known.get(each, _ANY) for each in range(serial, serial + count)]
                serial += count
                if index >= record.start and sequence == record.sequence:
                    held = len(decoder.tokens[sequence])
                    tokens = generation.tokens[held : held + count]
                    if len(tokens) < count:
                        raise ConfigError("the record does not describe this answer")
                pieces.append(Piece(sequence, tokens, logits=logits))
            try:
                decoder.decode(pieces, self._watch)
            except Aborted:
                return
            mine = any(piece.logits and piece.sequence == record.sequence for piece in pieces)
            if index >= record.start and mine:
                generation.advance(decoder.logits(record.sequence))
                if generation.stop is not None:
                    return
            yield


def _unrolled(entries: tuple[Entry, ...]) -> Iterator[tuple[int, Entry]]:
    """Yield each entry as often as it was done, with its index."""
    for index, (times, *what) in enumerate(entries):
        for _ in range(times):
            yield index, tuple(what)


def _pieces(what: Entry) -> Iterator[tuple[int, int, bool]]:
    for at in range(1, len(what), 3):
        yield what[at], what[at + 1], bool(what[at + 2])


def _known(record: Record, prompt: tuple[int, ...], streams: int) -> dict[int, int]:
    """Return the tokens that the answer's sequence began with, by their number among all that were decoded."""
    ledgers: list[list[int]] = [[] for _ in range(streams)]
    serial = 0
    for index, what in _unrolled(record.entries):
        if index >= record.start:
            break
        if what[0] == DECODE:
            for sequence, count, _ in _pieces(what):
                ledgers[sequence].extend(range(serial, serial + count))
                serial += count
        elif what[0] == KEEP:
            del ledgers[what[1]][what[2] :]
        else:
            ledgers[what[2]] = ledgers[what[1]][: what[3]]
    began = ledgers[record.sequence]
    if len(began) != record.reused or len(began) > len(prompt):
        raise ConfigError("the record does not describe this answer")
    return dict(zip(began, prompt, strict=False))
