"""What the vault keeps beside records: files, roots, conversations, settings. Runs inside the caller's transaction."""

from __future__ import annotations

import json
from typing import Any, Final

from agentkit_memory.database import Database
from agentkit_memory.errors import RecordError
from agentkit_memory.record import ConversationInfo, FileState

MESSAGE_LIMIT: Final = 8 << 20
SETTING_LIMIT: Final = 1 << 20
_LAST: Final = "\U0010ffff"


def files(database: Database, root: str) -> dict[str, FileState]:
    """Return the state of every file under `root`; of all, when it is empty."""
    columns = "path, size, mtime_ns, digest, chunks, error"
    if not root:
        found = database.rows(f"SELECT {columns} FROM files")  # noqa: S608 - our own columns
    else:
        inside = root.rstrip("/") + "/"
        found = database.rows(
            f"SELECT {columns} FROM files WHERE path = ? OR (path >= ? AND path < ?)",  # noqa: S608
            (root, inside, inside + _LAST),
        )
    return {row[0]: FileState(*row) for row in found}


def put_file(database: Database, state: FileState) -> None:
    """Write the state of a file over an older one."""
    database.change(
        "INSERT OR REPLACE INTO files (path, size, mtime_ns, digest, chunks, error) VALUES (?, ?, ?, ?, ?, ?)",
        (state.path, state.size, state.mtime_ns, state.digest, state.chunks, state.error),
    )


def note_file(database: Database, state: FileState) -> None:
    """Note size and modification time of a file whose content is what it was; do nothing for another content."""
    database.change(
        "UPDATE files SET size = ?, mtime_ns = ? WHERE path = ? AND digest = ?",
        (state.size, state.mtime_ns, state.path, state.digest),
    )


def drop_file(database: Database, path: str) -> None:
    """Forget the state of a file; its chunks are the caller's."""
    database.change("DELETE FROM files WHERE path = ?", (path,))


def chunk_ids(database: Database, path: str) -> list[str]:
    """Return the ids of a file's chunks."""
    found = database.rows("SELECT id FROM records WHERE kind = 'document' AND source = ?", (path,))
    return [identity.hex() for (identity,) in found]


def move_file(database: Database, old: str, new: str) -> None:
    """Give a file's state and chunks another path."""
    database.change("UPDATE files SET path = ? WHERE path = ?", (new, old))
    database.change("UPDATE records SET source = ? WHERE kind = 'document' AND source = ?", (new, old))


def roots(database: Database) -> list[str]:
    """Return the indexed folders, sorted."""
    return [path for (path,) in database.rows("SELECT path FROM roots ORDER BY path")]


def append_message(database: Database, conversation: str, message: dict[str, Any], now: float) -> int:
    """Add a message at the end of a conversation; return its number, from 0."""
    if not conversation:
        raise RecordError("a conversation needs an id")
    number = database.scalar(
        "SELECT coalesce(max(number) + 1, 0) FROM messages WHERE conversation = ?", (conversation,)
    )
    database.change(
        "INSERT INTO messages (conversation, number, created, message) VALUES (?, ?, ?, ?)",
        (conversation, number, now, to_json(message, "a message", MESSAGE_LIMIT)),
    )
    return int(number)


def messages(database: Database, conversation: str) -> list[dict[str, Any]]:
    """Return the messages of a conversation, oldest first; none when it does not exist."""
    found = database.rows(
        "SELECT message FROM messages WHERE conversation = ? ORDER BY number", (conversation,)
    )
    return [json.loads(message) for (message,) in found]


def conversations(database: Database) -> list[ConversationInfo]:
    """Return every conversation, the one last used first."""
    found = database.rows(
        """
        SELECT conversation, count(*), min(created), max(created), coalesce((
            SELECT substr(message ->> 'text', 1, 80) FROM messages AS said
            WHERE said.conversation = messages.conversation AND message ->> 'role' = 'user' ORDER BY number LIMIT 1
        ), '') FROM messages GROUP BY conversation ORDER BY max(created) DESC, conversation
        """
    )
    return [ConversationInfo(*row) for row in found]


def delete_conversation(database: Database, conversation: str) -> int:
    """Delete a conversation; return how many messages it had."""
    return database.change("DELETE FROM messages WHERE conversation = ?", (conversation,))


def setting(database: Database, key: str, default: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a setting, or `default` when it was never set."""
    found = database.row("SELECT value FROM settings WHERE key = ?", (key,))
    return default if found is None else json.loads(found[0])


def put_setting(database: Database, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Set a setting."""
    database.change(
        "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)",
        (key, to_json(value, "a setting", SETTING_LIMIT)),
    )


def to_json(value: Any, subject: str, limit: int) -> str:  # noqa: ANN401 - any JSON value
    """Return `value` as JSON.

    Raises:
        RecordError: It is not JSON-able, not valid Unicode, or over `limit` bytes.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError):
        raise RecordError(f"{subject} is not plain JSON in valid Unicode") from None
    if size > limit:
        raise RecordError(f"{subject} has {size} bytes; the limit is {limit}")
    return text
