"""Decode all generations together: each step is one batch in which every running one has its part.

A generation that writes adds its next token (and what its grammar forces) to every batch; one that still reads its
prompt adds a slice that is cut so that nobody who writes has to wait long. Who came first is started first.
Generations with different adapters take turns, since a context computes with one at a time.
Covered: one generation's failure is its own; a cancelled one leaves at once, and what was computed for the others in
the same batch is computed again; more than `MAX_WAITING` are refused rather than piled up.
Not covered: where the text goes and who asked; that is the worker's.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agentkit.errors import AgentkitError, BusyError, EngineError
from agentkit.models.adapters import Applied
from agentkit.models.base import StopReason
from agentkit.models.cache_log import Record
from agentkit.models.decoder import MIN_SLICE, Aborted, Decoder, Piece, Watch
from agentkit.models.generate import Generation
from agentkit.models.replay import Replay
from agentkit.models.sliding import MAX_SHIFTS, leaving
from agentkit.models.slots import Place, Slots, common_prefix

MAX_WAITING = 32
STALL_SECONDS = 0.15
"""How long a step may take while somebody writes; prompts are cut to that."""
SLOW_STEP_SECONDS = 0.1
"""A step that takes longer is watched while it runs; a shorter one only between steps, which costs nothing."""
TURN_SECONDS = 0.25
"""Who has one adapter waits at most about so long for who has another; each change costs some milliseconds."""
READ_AGAIN_TOKENS = 4096
"""A cache that holds at most so many is emptied when its log is nearly full, so that answers go on to have records."""
UNRECORDED_TOKENS = 256
"""One whose log is lost is emptied once it holds at most so many for each answer that had no record."""
SHARE_TOKENS = 64
"""To wait for a prefix that another generation is just reading, it has to be longer than this."""


@dataclass(slots=True, eq=False)
class Job:
    """A generation on its way through the scheduler."""

    generation: Generation
    done: Callable[[AgentkitError | None], None]
    """Told once, when it is over or has failed."""
    conversation: str | None = None
    adapter: Applied | None = None
    cancelled: bool = False
    replay: Record | None = None
    """Do this again, instead of what would come now."""
    place: Place | None = None
    start: int = 0
    """Where in the log of the cache it begins; for a job that runs."""

    @property
    def weights(self) -> str:
        """What it is computed with; only jobs with the same can share a batch, or what is in the cache."""
        return "" if self.adapter is None else self.adapter.key

    @property
    def sequence(self) -> int:
        """Of the cache; for a job that runs."""
        if self.place is None:
            raise ValueError("the job has no place yet")
        return self.place.slot.index


class Scheduler:
    """Runs jobs on one decoder."""

    def __init__(
        self,
        decoder: Decoder,
        *,
        pinned: Callable[[], Decoder] | None = None,
        again: Callable[[], Decoder] | None = None,
    ) -> None:
        """Start with nothing to do.

        Args:
            decoder: What all jobs share.
            pinned: Opens a decoder for a job that has to be reproducible: one sequence, no flash attention, nothing in
                its cache. It is closed after the job.
            again: Opens another decoder like the first, for a job that does a record again. Closed likewise.
        """
        self.slots = Slots(decoder)
        self._decoder = decoder
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []
        self._pace = _Pace()
        self._turns = _Turns()
        self._unrecorded = 0
        """Answers that a lost log left without a record, since the cache was last emptied for their sake."""
        self._pinned, self._again = pinned, again
        self._alone: tuple[Scheduler | Replay, Decoder] | None = None

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._running or self._alone)

    def submit(self, job: Job) -> None:
        """Take a job; it starts as soon as there is a place for it.

        Raises:
            BusyError: Too many wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise BusyError(
                f"the engine is busy: {len(self._running)} answers are being written and {len(self._waiting)} wait",
                hint="try again in a moment",
            )
        self._waiting.append(job)

    def step(self, watch: Watch) -> None:
        """Decode one batch and draw from it; do nothing where there is no job.

        Args:
            watch: Looks for what came in meanwhile, marks jobs as cancelled, and returns whether it marked one. It is
                called at the start, and often while a long batch is computed.
        """
        if self._alone is not None:
            self._step_alone(watch)
            return
        watch()
        self._drop_cancelled()
        self._admit()
        for job in self._running:
            self._slide(job)
        pieces = self._plan()
        if not pieces:
            return
        rows = sum(len(piece.tokens) for piece in pieces)
        started = time.perf_counter()
        try:
            slow = self._pace.expected(rows) > SLOW_STEP_SECONDS
            self._decoder.decode(pieces, watch if slow else None)
        except Aborted:
            return  # the next step drops whom it was for, and does the rest again
        except EngineError as error:
            for job in [job for job in self._running if job.sequence in {piece.sequence for piece in pieces}]:
                self._end(job, error)
            return
        self._pace.took(rows, time.perf_counter() - started)
        wanted = {piece.sequence for piece in pieces if piece.logits}
        for job in [job for job in self._running if job.sequence in wanted]:
            self._advance(job)

    def _step_alone(self, watch: Watch) -> None:
        if self._alone is None:
            return
        self._drop_cancelled()  # those who wait meanwhile
        scheduler, decoder = self._alone
        try:
            scheduler.step(watch)
        finally:
            if not scheduler.busy:
                decoder.close()
                self._alone = None

    def _isolate(self, job: Job) -> None:
        """Let a job run by itself, in a cache of its own."""
        opens = self._pinned if job.replay is None else self._again
        if opens is None:
            raise ValueError("this scheduler cannot open another decoder")
        try:
            decoder = opens()
        except AgentkitError as error:
            self._end(job, error)
            return
        if job.replay is None:
            alone = Scheduler(decoder)
            alone.submit(job)
            self._alone = alone, decoder
        else:
            replay = Replay(
                decoder,
                job.generation,
                job.replay,
                adapter=job.adapter,
                cancelled=lambda: job.cancelled,
                done=job.done,
            )
            self._alone = replay, decoder

    # --- who runs -----------------------------------------------------------------------------------

    def _drop_cancelled(self) -> None:
        for job in [job for job in (*self._waiting, *self._running) if job.cancelled]:
            job.generation.stop = StopReason.CANCELLED
            if job.place is None:
                self._waiting.remove(job)
            self._end(job)

    def _admit(self) -> None:
        """Start those who wait, in their order, while there are places."""
        for job in list(self._waiting):
            if self._prefix_is_coming(job):
                continue  # for a moment; it holds up nobody
            generation = job.generation
            if job.replay or (generation.sampling.reproducible and self._pinned):
                if not self._running:
                    self._waiting.remove(job)
                    self._isolate(job)
                return
            if not self._running:
                self._begin_anew(job)
            place = self.slots.take(
                generation.prompt, generation.reserve, adapter=job.weights, conversation=job.conversation
            )
            if place is None:
                return
            self._waiting.remove(job)
            self._running.append(job)
            job.place = place
            job.start = self._decoder.log.mark()
            self._try(job, partial(generation.start, place.reused, place.origin))

    def _begin_anew(self, job: Job) -> None:
        """Empty the cache where what comes next could not be recorded, and that costs little.

        It costs this job nothing where the cache holds next to nothing of its prompt. Else all conversations in it are
        read again, each when it goes on. That comes to 4,096 tokens at most, once in 49,152 tokens or 3,072 batches,
        where the log is nearly full; where it was lost, by a restored state, a shift, or too much at once, to 256
        tokens an answer: a conversation of 2,000 tokens that was restored is read again after eight answers without a
        record. While others are being written nothing is emptied.
        """
        log = self._decoder.log
        if (log.whole and not log.nearly_full) or self.slots.restored(job.conversation):
            return
        most = READ_AGAIN_TOKENS if log.whole else UNRECORDED_TOKENS * self._unrecorded
        cheap = self._decoder.used() <= most
        shared = self.slots.shared(job.generation.prompt, job.conversation, adapter=job.weights)
        if cheap:
            self._unrecorded = 0
        if cheap or shared < SHARE_TOKENS:
            self.slots.clear(again=cheap)

    def _record(self, job: Job) -> Record | None:
        """Return how a job was computed; `None` where that is not known, or needs no saying."""
        log, outcome, place = self._decoder.log, job.generation.outcome, job.place
        if place is None or self._again is None or not log.whole or outcome.shifts or outcome.recomputed:
            return None
        return Record(place.slot.index, job.start, place.reused, place.origin, log.entries())

    def _prefix_is_coming(self, job: Job) -> bool:
        """Return whether a running job is just about to compute much of this one's prompt."""
        if not self._decoder.shares:
            return False
        prompt = job.generation.prompt
        for other in self._running:
            if other.weights != job.weights or not other.generation.reading:
                continue  # other weights, or it holds something else by now than the beginning of its prompt
            held, ahead = len(self._decoder.tokens[other.sequence]), other.generation.prompt
            limit = min(len(ahead), len(prompt) - 1)
            if held < limit and common_prefix(ahead, prompt, limit) - held > SHARE_TOKENS:
                return True
        return False

    def _advance(self, job: Job) -> None:
        self._try(job, lambda: job.generation.advance(self._decoder.logits(job.sequence)))

    def _try(self, job: Job, write: Callable[[], None]) -> None:
        """Let a job write on, and end it where it is over or fails."""
        try:
            write()
        except AgentkitError as error:
            self._end(job, error)
        except Exception as error:  # noqa: BLE001 - one stream's failure must not end the others; only its kind is told
            self._end(job, EngineError(f"the engine failed: {type(error).__name__}"))
        else:
            if job.generation.stop is not None:
                self._end(job)

    def _end(self, job: Job, error: AgentkitError | None = None) -> None:
        if job in self._running:
            self._running.remove(job)
        if job.place is not None:
            self.slots.give_back(job.place.slot)
            self._unrecorded += not self._decoder.log.whole
        job.generation.finish()
        job.generation.outcome.record = self._record(job)
        job.done(error)

    # --- what is decoded ----------------------------------------------------------------------------

    def _pending(self, job: Job) -> int:
        return len(job.generation.tokens) - len(self._decoder.tokens[job.sequence])

    def _plan(self) -> list[Piece]:
        """Choose what of each running job is decoded next, of those whose turn it is."""
        if not self._running:
            return []
        weights = self._turns.choose([job.weights for job in self._running], time.monotonic())
        running = [job for job in self._running if job.weights == weights]
        self._decoder.adapt(running[0].adapter)
        reading = [job for job in running if self._reads(job)]
        parts: dict[int, int] = {job.sequence: self._pending(job) for job in running if job not in reading}
        room = self._decoder.batch_tokens - sum(parts.values())
        if parts and reading:
            room = min(room, self._pace.slice(STALL_SECONDS) - sum(parts.values()))
            room = max(room, min(MIN_SLICE, self._decoder.batch_tokens - sum(parts.values())))
        for left, job in zip(range(len(reading), 0, -1), reading, strict=True):
            share = min(self._pending(job), math.ceil(room / left))
            if share > 0:
                parts[job.sequence] = share
                room -= share
        self._running.sort(
            key=lambda job: job in reading[:1]
        )  # who had the first slice is last the next time
        return [self._piece(job, parts[job.sequence]) for job in self._running if job.sequence in parts]

    def _slide(self, job: Job) -> None:
        """Make room in the window of a job that has filled it: move what stays, or let it be computed again."""
        generation, window = job.generation, job.generation.window
        if window is None or job.place is None or len(generation.tokens) <= window.tokens:
            return
        slot, held = job.place.slot, len(self._decoder.tokens[job.sequence])
        count = leaving(held, window.keep)
        if slot.shifts < MAX_SHIFTS and self._decoder.shift(job.sequence, window.keep, count):
            slot.moved(window.keep, count)
            generation.outcome.shifts += 1
        else:
            self._decoder.keep(job.sequence, window.keep)
            slot.exact, slot.shifts, slot.saved = None, 0, min(slot.saved, window.keep)
            generation.outcome.recomputed += 1
        generation.let_go(window.keep, count)

    def _reads(self, job: Job) -> bool:
        """Return whether a job is still at its prompt, or has so much to decode that it is like one."""
        held = len(self._decoder.tokens[job.sequence])
        return self._pending(job) > MIN_SLICE or held < job.generation.reading

    def _piece(self, job: Job, count: int) -> Piece:
        held = len(self._decoder.tokens[job.sequence])
        tokens: Sequence[int] = job.generation.tokens[held : held + count]
        return Piece(job.sequence, tokens, logits=count == self._pending(job))


class _Turns:
    """Whose turn it is, where several adapters are wanted at once."""

    def __init__(self) -> None:
        self._current = ""
        self._since = -math.inf

    def choose(self, wanted: Sequence[str], now: float) -> str:
        """Return one of `wanted`: the same as before for a while, then the next in order."""
        order = sorted(set(wanted))
        if self._current not in order or now - self._since > TURN_SECONDS:
            self._current = next((each for each in order if each > self._current), order[0])
            self._since = now
        return self._current


class _Pace:
    """How fast this model decodes on this machine, learnt from the steps."""

    def __init__(self) -> None:
        self._step = math.inf
        """Seconds of a step with a few tokens."""
        self._token = math.inf
        """Seconds a token in a step with many."""

    def expected(self, rows: int) -> float:
        return self._step if rows < MIN_SLICE else rows * self._token

    def took(self, rows: int, seconds: float) -> None:
        if rows < MIN_SLICE:
            self._step = seconds
        else:
            self._token = seconds / rows

    def slice(self, seconds: float) -> int:
        """Return how many tokens can be read in so many seconds; few, as long as nothing is known."""
        return MIN_SLICE if self._token == math.inf else int(seconds / self._token)
