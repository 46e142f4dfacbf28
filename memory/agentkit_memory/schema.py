"""The tables of the vault's database, and how an older database becomes a newer one.

`PRAGMA user_version` counts the migrations applied. A migration, once released, is never edited: add another.
Source: memory/README.md §3.
"""

from __future__ import annotations

from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = (
    # 1: records, what finds them, the state of the index, conversations, settings.
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

    CREATE TABLE records (
        row INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        position INTEGER NOT NULL,
        place TEXT NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        origin TEXT NOT NULL,
        privacy TEXT NOT NULL,
        created REAL NOT NULL,
        sources TEXT NOT NULL
    ) STRICT;
    CREATE INDEX records_by_source ON records (source, kind, position);
    CREATE INDEX records_by_time ON records (created);

    -- Apart from the records, so that reading texts does not drag 1.5 KB of vector along with each.
    CREATE TABLE vectors (row INTEGER PRIMARY KEY REFERENCES records ON DELETE CASCADE, vector BLOB NOT NULL) STRICT;

    -- Takes its text from `records`: stored once, and deletable to the last posting.
    CREATE VIRTUAL TABLE texts USING fts5 (
        title, text, content='records', content_rowid='row', tokenize='porter unicode61 remove_diacritics 2'
    );
    INSERT INTO texts (texts, rank) VALUES ('secure-delete', 1);
    CREATE TRIGGER records_insert AFTER INSERT ON records BEGIN
        INSERT INTO texts (rowid, title, text) VALUES (new.row, new.title, new.text);
    END;
    CREATE TRIGGER records_delete AFTER DELETE ON records BEGIN
        INSERT INTO texts (texts, rowid, title, text) VALUES ('delete', old.row, old.title, old.text);
    END;
    CREATE TRIGGER records_update AFTER UPDATE OF title, text ON records BEGIN
        INSERT INTO texts (texts, rowid, title, text) VALUES ('delete', old.row, old.title, old.text);
        INSERT INTO texts (rowid, title, text) VALUES (new.row, new.title, new.text);
    END;

    CREATE TABLE files (
        path TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        digest TEXT NOT NULL,
        chunks INTEGER NOT NULL,
        error TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE roots (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

    CREATE TABLE messages (
        conversation TEXT NOT NULL,
        number INTEGER NOT NULL,
        created REAL NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (conversation, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
    # 2: how many commits there were, and the digest of all rows after the last of them.
    """
    CREATE TABLE newest (
        one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, digest BLOB NOT NULL
    ) STRICT;
    INSERT INTO newest (one, generation, digest) VALUES (1, 0, zeroblob(32));
    """,
    # 3: terms in place of SQLite's full-text index, which is too slow at 100,000 texts; vectors of a model to come.
    """
    DROP TRIGGER records_insert;
    DROP TRIGGER records_delete;
    DROP TRIGGER records_update;
    DROP TABLE texts;
    CREATE TABLE terms (row INTEGER PRIMARY KEY REFERENCES records ON DELETE CASCADE, entries BLOB NOT NULL) STRICT;
    INSERT INTO terms (row, entries) SELECT row, terms_of(title, text) FROM records;
    CREATE TABLE next_vectors (
        row INTEGER PRIMARY KEY REFERENCES records ON DELETE CASCADE, vector BLOB NOT NULL
    ) STRICT;
    """,
    # 4: where records that others were made from came from, for when they are gone.
    """
    CREATE TABLE cited (
        id BLOB PRIMARY KEY,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        origin TEXT NOT NULL,
        privacy TEXT NOT NULL,
        created REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO cited SELECT id, kind, source, origin, privacy, created FROM records WHERE lower(hex(id)) IN (
        SELECT value FROM records AS made, json_each(made.sources)
        UNION SELECT value FROM messages, json_each(message, '$.labels[2]')
        UNION SELECT value FROM messages, json_each(message, '$.labels.sources')
        UNION SELECT value FROM messages, json_each(message, '$.sources')
    );
    """,
)
VERSION: Final = len(MIGRATIONS)
SESSION: Final = """
CREATE TEMP TABLE IF NOT EXISTS retired (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    privacy TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
"""
"""In memory only, while the vault is open: records that were deleted (`citations.py`)."""
