"""Forget records and what was made from them, and prove that they are gone.

What was derived carries the ids of its sources: records made from a forgotten one go with it, and messages of a
conversation that were made from one, or repeat its text, keep their place but lose their words; a round that repeats
one goes, and with a round the words of its turn: question, calls, results and answer.
The proof reads every page of the database as it is on the disk, decrypted, free pages too; the log is empty by then and
the snapshot removed. A piece that a record or message still kept also holds is not counted.
Not covered: copies and backups made before (rotate, and destroy what opened them), and the file a document was
read from.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agentkit_memory import citations, rows, terms
from agentkit_memory.database import Database
from agentkit_memory.record import Filter, Record
from agentkit_memory.search import EVERYTHING, Finder

FORGOTTEN: Final = "[forgotten]"
SHORTEST: Final = 12
"""Characters from which a text repeated in a message counts as the same; shorter ones occur by chance."""
_FEW: Final = 50
"""Texts that are sought one after the other; more are sought together."""
_SPEAKER: Final = re.compile(r"^(?:user|assistant): ", re.MULTILINE)
_PROBES: Final = 96
_PROBE_CHARACTERS: Final = 32
_PROBE_BYTES: Final = 32
_WORDS: Final = {
    "records": ("text", "title", "source"),
    "files": ("path",),
    "roots": ("path",),
    "messages": ("message",),
    "settings": ("value",),
    "cited": ("source",),
}
"""Where words of what is kept may lie."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was forgotten, and what was found of it afterwards."""

    ids: tuple[str, ...]
    """Records that are gone, those made from others among them."""
    derived: int
    """How many of them were made from others."""
    messages: int
    """Messages whose words were removed."""
    conversations: tuple[str, ...]
    """Conversations those messages are in."""
    probes: int
    """Pieces of texts, titles, paths, ids and vectors that were looked for."""
    pages_scanned: int
    pages_with_traces: int
    """Occurrences of those pieces in decrypted pages; 0 is the proof."""
    searches_with_traces: int
    """Of them and their terms, how many the search still holds or finds; 0 is the proof."""

    @property
    def proven(self) -> bool:
        """Whether nothing was found."""
        return not self.pages_with_traces and not self.searches_with_traces


def with_derived(database: Database, ids: Sequence[str]) -> list[str]:
    """Return `ids` and those of every record made from them, directly or not."""
    known = dict.fromkeys(ids)
    fresh = set(ids)
    rows_with_sources = database.rows("SELECT id, sources FROM records WHERE sources != '[]'")
    made_from = [(identity.hex(), set(json.loads(sources))) for identity, sources in rows_with_sources]
    while fresh:
        fresh = {identity for identity, sources in made_from if identity not in known and sources & fresh}
        known |= dict.fromkeys(fresh)
    return list(known)


def repeating(database: Database, gone: Sequence[Record]) -> list[str]:
    """Return the ids of the rounds of conversations that repeat the text of one of `gone`."""
    texts = _texts(gone)
    rounds = database.rows("SELECT id, text FROM records WHERE kind = 'round'") if texts else []
    return [identity.hex() for identity, said in rounds if texts.occur_in(said)]


class Named:
    """Which messages are named themselves: by words, by time, or by both. What asks for more is about records alone.

    A turn, from a question to the next one, has the time of its question.
    """

    def __init__(self, where: Filter | None = None, query: str = "") -> None:
        self._words = terms.asked(query)
        self._since, self._until = (None, None) if where is None else (where.since, where.until)
        of_messages = where is None or replace(where, since=None, until=None) == EVERYTHING
        self._any = of_messages and (bool(self._words) if query else where is not None)

    def turn(self, created: float) -> bool:
        """Whether a turn of this time is named, all of it if no words are asked for."""
        early = self._since is not None and created < self._since
        late = self._until is not None and created >= self._until
        return self._any and not early and not late

    def message(self, message: dict[str, Any]) -> bool:
        """Whether a message of such a turn has every word."""
        return terms.occur(self._words, " ".join(_words(message)))


@dataclass(frozen=True, slots=True)
class Redacted:
    """Messages that lost their words."""

    messages: int
    conversations: tuple[str, ...]
    words: tuple[str, ...]
    """What they said, as JSON has it."""


def redact(database: Database, gone: Sequence[Record], named: Named) -> Redacted:
    """Take the words out of messages that are named, made from `gone` or repeat one, and out of the turns of rounds.

    With a question goes all that follows up to the next one: calls, results and the answer were made from it.
    """
    ids, texts, rounds = {record.id for record in gone}, _texts(gone), _spoken(gone)
    said, whole, none = list[str](), {(record.source, record.text) for record in gone}, _Sought(())
    conversations: list[str] = []
    for conversation, turn in _turns(database):
        spoken, in_time = rounds.get(conversation, none), named.turn(turn[0].created)
        chosen = [
            not ids.isdisjoint(citations.of_message(each.message))
            or _repeats(each.message, texts)
            or _repeats(each.message, spoken)
            or (in_time and named.message(each.message))
            for each in turn
        ]
        results = {str(each.message.get("call_id")) for each in itertools.compress(turn, chosen)} - {"None"}
        chosen = [
            is_chosen or not results.isdisjoint(_call_ids(each.message))  # what was asked for is in the call
            for is_chosen, each in zip(chosen, turn, strict=True)
        ]
        if (chosen[0] and _asks(turn[0].message)) or (conversation, _as_round(turn)) in whole:
            chosen = [True] * len(turn)
        for each in itertools.compress(turn, chosen):
            kept = _blank(each.message)
            if kept == each.message:
                continue
            database.change(
                "UPDATE messages SET message = ? WHERE conversation = ? AND number = ?",
                (_json(kept), conversation, each.number),
            )
            said += (_json(words)[1:-1] for words in _words(each.message))
            conversations.append(conversation)
    return Redacted(len(conversations), tuple(dict.fromkeys(conversations)), tuple(said))


def unsay(database: Database, old: Record) -> None:
    """Take the words a record had before it was written anew out of messages that repeat them.

    A round that repeats them is what was said, and stays; the record becomes one of its sources, so that forgetting the
    one still reaches the other. Messages made from the record stay as well: their labels name it.
    """
    redact(database, [replace(old, id="")], Named())
    for identity in repeating(database, [old]):
        database.change(
            "UPDATE records SET sources = json_insert(sources, '$[#]', ?) WHERE id = ? AND NOT instr(sources, ?)",
            (old.id, bytes.fromhex(identity), old.id),
        )
        citations.note(database, [old.id])


def prove(
    database: Database,
    finder: Finder,
    gone: Sequence[Record],
    vectors: Sequence[bytes],
    said: Sequence[str] = (),
) -> tuple[int, int, int, int]:
    """Look for records that are gone, and for what messages `said`.

    Returns:
        How many pieces were sought, pages read, traces found in pages, and traces found by searching.
    """
    packed = (terms.pack(f"{record.title} {record.text}") for record in gone)
    pieces = [bytes.fromhex(record.id) for record in gone]
    pieces += [piece for blob in (*vectors, *packed) for piece in _telling(blob)]
    texts = [text for record in gone for text in (record.text, record.title, record.source)]
    pieces += [piece.encode() for text in (*texts, *said) for piece in _pieces(text)]
    pieces = list(dict.fromkeys(pieces))
    step = max(1, len(pieces) // _PROBES)
    wanted = pieces[::step][: 2 * _PROBES]
    counts = database.scan(wanted)
    ids = [bytes.fromhex(record.id) for record in gone]
    traces = sum(
        count
        for piece, count in zip(wanted, counts, strict=True)
        if count and not _elsewhere(database, piece, ids)
    )
    pages = int(database.scalar("PRAGMA page_count"))
    orphans = sum(
        database.scalar(f"SELECT count(*) FROM {table} WHERE row NOT IN (SELECT row FROM records)")  # noqa: S608
        for table in ("vectors", "next_vectors", "terms")
    )
    return len(wanted), pages, traces, orphans + finder.traces(gone, vectors)


class _Sought:
    """Texts that are sought in others. A folder's are many: those are sought by the characters they begin with."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [text for text in dict.fromkeys(texts) if len(text) >= SHORTEST]
        self._by_start: dict[str, list[str]] = {}
        for text in self._texts if len(self._texts) > _FEW else ():
            self._by_start.setdefault(text[:SHORTEST], []).append(text)

    def __bool__(self) -> bool:
        return bool(self._texts)

    def occur_in(self, value: str) -> bool:
        """Whether one of them occurs in `value`."""
        if not self._by_start:
            return any(text in value for text in self._texts)
        starts = range(len(value) - SHORTEST + 1)
        return any(
            value.startswith(text, at)
            for at in starts
            for text in self._by_start.get(value[at : at + SHORTEST], ())
        )


def _texts(gone: Sequence[Record]) -> _Sought:
    return _Sought(record.text.strip() for record in gone if record.kind != "round")


def _spoken(gone: Sequence[Record]) -> dict[str, _Sought]:
    """Return what was said in rounds, by conversation: phrases of a model may well recur in others."""
    found: dict[str, list[str]] = {}
    for record in gone:
        if record.kind == "round":
            parts = (part.strip() for part in _SPEAKER.split(record.text))
            found.setdefault(record.source, []).extend(parts)
    return {conversation: _Sought(parts) for conversation, parts in found.items()}


def _pieces(text: str) -> list[str]:
    size = _PROBE_CHARACTERS
    if len(text) < SHORTEST:
        return []
    starts = {0, max(0, len(text) // 2 - size), max(0, len(text) - size)}
    return [text[start : start + size] for start in sorted(starts)]


def _telling(blob: bytes) -> list[bytes]:
    """Return the part of a vector or of entries that is least likely to occur by chance; none, when all are likely."""
    size = _PROBE_BYTES
    parts = [blob[start : start + size] for start in range(0, len(blob) - size + 1, size)]
    best = max(parts, key=lambda part: len(set(part)), default=b"")
    return [best] if len(set(best)) >= size // 4 else []


def _elsewhere(database: Database, piece: bytes, gone: Sequence[bytes]) -> bool:
    """Whether something that is kept holds the same piece."""
    places = [("vectors", "vector"), ("next_vectors", "vector"), ("terms", "entries")]
    kept = "SELECT id FROM {0} JOIN records USING (row) WHERE instr({1}, ?)"
    found = (row[0] for place in places for row in database.rows(kept.format(*place), (piece,)))
    if any(identity not in gone for identity in found):
        return True
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return False
    return any(
        database.scalar(f"SELECT 1 FROM {table} WHERE instr({column}, ?) LIMIT 1", (text,)) is not None  # noqa: S608
        for table, columns in _WORDS.items()
        for column in columns
    )


def _repeats(value: Any, texts: _Sought) -> bool:  # noqa: ANN401 - any JSON value
    return bool(texts) and any(map(texts.occur_in, _strings(value)))


@dataclass(frozen=True, slots=True)
class _Said:
    number: int
    created: float
    message: dict[str, Any]


def _turns(database: Database) -> Iterator[tuple[str, list[_Said]]]:
    """Yield each conversation's turns, and what stands before its first question as one of them."""
    found = database.rows(
        "SELECT conversation, number, created, message FROM messages ORDER BY conversation, number"
    )
    for conversation, messages in itertools.groupby(found, key=lambda row: row[0]):
        turn: list[_Said] = []
        for _, number, created, message in messages:
            said = _Said(number, created, json.loads(message))
            if turn and _asks(said.message):
                yield conversation, turn
                turn = []
            turn.append(said)
        yield conversation, turn


def _asks(message: dict[str, Any]) -> bool:
    return message.get("role") == "user"


def _as_round(turn: Sequence[_Said]) -> str:
    """Return the text of the round that a turn was kept as."""
    return "\n".join(
        f"{each.message.get('role')}: {str(each.message.get('text')).strip()}" for each in (turn[0], turn[-1])
    )


def _words(message: dict[str, Any]) -> list[str]:
    """Return what a message says: its text, and the texts in the arguments of its calls."""
    arguments = [call.get("arguments") if isinstance(call, dict) else call[2:] for call in _calls(message)]
    return list(_strings([message.get("text"), arguments]))


def _call_ids(message: dict[str, Any]) -> list[str]:
    return [str(call.get("id") if isinstance(call, dict) else call[0]) for call in _calls(message)]


def _calls(message: dict[str, Any]) -> list[Any]:
    """Return the calls of a message: each an object, or a list of id, name and arguments."""
    calls = message.get("calls")
    return (
        [call for call in calls if isinstance(call, dict | list) and call] if isinstance(calls, list) else []
    )


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    match value:
        case str():
            yield value
        case [*each]:
            for one in each:
                yield from _strings(one)
        case dict():
            for one in value.values():
                yield from _strings(one)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _blank(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message without words: its shape stays, so that a conversation can still be loaded."""
    kept = {**message, "text": FORGOTTEN}
    if isinstance(message.get("calls"), list):
        kept["calls"] = [
            {**call, "arguments": {}} if isinstance(call, dict) else [*call[:2], {}]
            for call in _calls(message)
        ]
    return kept


def vectors_of(database: Database, ids: Sequence[str], dimensions: int) -> list[bytes]:
    """Return the stored vectors of `ids`, to look for them later."""
    found = rows.vectors_of(database, ids, dimensions).values()
    return [vector.tobytes() for vectors in found for vector in vectors]
