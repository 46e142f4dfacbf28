"""Requests about what the vault holds: search, remember, list, forget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agentkit.core.server import Handler, Session
from agentkit.errors import ConfigError, LimitError

if TYPE_CHECKING:
    from agentkit.core.service import Service
    from agentkit_memory import Filter, Hit

MAX_MEMORY_CHARACTERS = 8_000
MAX_HITS = 100
WORTH_AN_INDEX = 1_000
"""Records from which loading Chroma pays; below, the exact search is as quick and needs no loading."""


class RecordOps:
    """`search`, `remember`, `records`, `forget`, `conversations`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def table(self) -> dict[str, Handler]:
        """Return the requests answered here."""
        return {
            "search": self._search,
            "remember": self._remember,
            "records": self._records,
            "forget": self._forget,
            "conversations": self._conversations,
            "conversation": self._conversation,
            "forget_conversation": self._forget_conversation,
        }

    def remember(self, text: str, *, origin: str, sources: tuple[str, ...] = ()) -> str:
        """Store one fact with its labels and return its id."""
        from agentkit_memory import NewRecord

        text = text.strip()
        if not text:
            raise ConfigError("there is nothing to remember")
        if len(text) > MAX_MEMORY_CHARACTERS:
            raise LimitError(
                f"a memory of {len(text)} characters is over the limit of {MAX_MEMORY_CHARACTERS}",
                hint="index it as a document instead",
            )
        record = NewRecord(text=text, kind="memory", origin=origin, sources=sources)
        (record_id,) = self._service.vault.add([record], self._service.embedder().embed([text]))
        return record_id

    def search(self, text: str, *, k: int, where: Filter) -> list[Hit]:
        """Search by meaning and by words."""
        embedding = self._service.embedder().embed([text])[0]
        return self._service.vault.search(text, embedding, k=k, where=where)

    def _search(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        k = request.get("k", 8)
        if not isinstance(k, int) or not 1 <= k <= MAX_HITS:
            raise ConfigError(f"the number of results is not between 1 and {MAX_HITS}")
        vault = self._service.vault  # says that it is locked before the embedder is loaded
        hits = self.search(request["text"], k=k, where=_filter(request))
        if vault.count() >= WORTH_AN_INDEX:
            vault.warm()
        return {"hits": [_hit(hit) for hit in hits]}

    def _remember(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"id": self.remember(request["text"], origin="user")}

    def _records(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        vault, where = self._service.vault, _filter(request)
        records = vault.records(
            where, limit=int(request.get("limit", 100)), offset=int(request.get("offset", 0))
        )
        return {"total": vault.count(where), "records": [asdict(record) for record in records]}

    def _forget(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        vault = self._service.vault
        ids: list[str] = list(request.get("ids") or [])
        for prefix in [each for each in ids if len(each) < 32]:
            ids.remove(prefix)
            ids.append(self._complete(prefix))
        restricts = any(request.get(name) for name in ("source_prefix", "since", "until"))
        where = _filter(request) if restricts else None
        query = str(request.get("query") or "")
        if not ids and where is None and not query:
            return {"forgotten": 0}
        gone = vault.forget(ids, where=where, query=query)
        self._service.runs.forget_prompts()  # a prompt in the engine's cache may hold what was forgotten
        return {**asdict(gone), "forgotten": len(gone.ids), "proven": gone.proven}

    def _complete(self, prefix: str) -> str:
        """Return the one id that begins with `prefix`, as shown in lists."""
        from agentkit_memory import Filter

        if len(prefix) < 4:
            raise ConfigError(
                "the id is too short", hint="give at least 4 characters of it, see `agentkit memory list`"
            )
        found = [
            record.id
            for record in self._service.vault.records(Filter(), limit=1_000_000)
            if record.id.startswith(prefix)
        ]
        if len(found) != 1:
            raise ConfigError(
                f"{len(found)} records have an id that begins like this", hint="see `agentkit memory list`"
            )
        return found[0]

    def _conversations(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"conversations": [asdict(each) for each in self._service.vault.conversations()]}

    def _conversation(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"messages": self._service.vault.conversation(request["id"])}

    def _forget_conversation(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        self._service.vault.delete_conversation(request["id"])
        self._service.runs.forget_prompts(str(request["id"]))
        return {}


def _filter(request: Mapping[str, Any]) -> Filter:
    from agentkit_memory import Filter

    return Filter(
        kinds=tuple(request.get("kinds") or ()),
        source_prefix=str(request.get("source_prefix") or ""),
        origins=tuple(request.get("origins") or ()),
        since=_time(request.get("since")),
        until=_time(request.get("until")),
    )


def _time(given: object) -> float | None:
    if given is None:
        return None
    if not isinstance(given, int | float):
        raise ConfigError("a time is a number of seconds since 1970")
    return float(given)


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "record": asdict(hit.record),
        "score": round(float(hit.score), 4),
        "dense": round(float(hit.dense), 4),
        "lexical": round(float(hit.lexical), 4),
    }
