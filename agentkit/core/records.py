"""Requests about what the vault holds: search, remember, list, edit, forget, re-embed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agentkit.core.server import Handler, Session
from agentkit.errors import ConfigError, EngineError, LimitError, NotFoundError
from agentkit.labels import Origin, Privacy

if TYPE_CHECKING:
    from agentkit.core.service import Service
    from agentkit_memory import Filter, Hit, Reembedded

MAX_MEMORY_CHARACTERS = 8_000
MAX_HITS = 100
WORTH_AN_INDEX = 1_000
"""Records from which loading Chroma pays; below, the exact search is as quick and needs no loading."""
WRITTEN = ("memory", "round")
"""Kinds whose text a person may edit."""


class RecordOps:
    """`search`, `remember`, `records`, `rewrite`, `forget`, `conversations`, `reembed`."""

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
            "record": self._record,
            "rewrite": self._rewrite,
            "reembed": self._reembed,
        }

    def remember(
        self, text: str, *, origin: str, privacy: str = "private", sources: tuple[str, ...] = ()
    ) -> str:
        """Store one fact with its labels and return its id."""
        from agentkit_memory import NewRecord
        from agentkit_memory.embed import embed_record

        text = _memory(text)
        record = NewRecord(text=text, kind="memory", origin=origin, privacy=privacy, sources=sources)
        vectors = embed_record(self._service.embedder(), record.kind, record.title, text)
        (record_id,) = self._service.vault.add([record], vectors, counts=[len(vectors)])
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
        restricts = any(request.get(name) for name in ("source", "under", "since", "until"))
        where = _filter(request) if restricts else None
        query = str(request.get("query") or "")
        if not ids and where is None and not query:
            return {"forgotten": 0}
        with self._service.runs.forgetting():
            gone = vault.forget(ids, where=where, query=query)
        return {**asdict(gone), "forgotten": len(gone.ids), "proven": gone.proven}

    def _complete(self, prefix: str) -> str:
        """Return the one id that begins with `prefix`, as shown in lists."""
        if len(prefix) < 4:
            raise ConfigError(
                "the id is too short", hint="give at least 4 characters of it, see `agentkit memory list`"
            )
        found = self._service.vault.ids_with_prefix(prefix)
        if len(found) != 1:
            how_many = "several records have" if found else "no record has"
            error = ConfigError if found else NotFoundError
            raise error(f"{how_many} an id that begins like this", hint="agentkit memory list shows the ids")
        return found[0]

    def _conversations(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"conversations": [asdict(each) for each in self._service.vault.conversations()]}

    def _conversation(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        return {"messages": self._service.vault.conversation(request["id"])}

    def _forget_conversation(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit.rounds import KIND
        from agentkit_memory import Filter

        vault, name = self._service.vault, str(request["id"])
        rounds = Filter(kinds=(KIND,), source=name)
        # of every conversation, once there were rounds: they were found in others too
        with self._service.runs.forgetting(None if vault.count(rounds) else name):
            messages = vault.delete_conversation(name)
            gone = vault.forget(where=rounds)
        found = bool(messages or gone.ids)
        return {**asdict(gone), "forgotten": len(gone.ids), "proven": gone.proven, "found": found}

    def _record(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        (record,) = self._service.vault.get([self._complete(request["id"])]) or (None,)
        if record is None:
            raise NotFoundError("no record has this id", hint="agentkit memory list shows the ids")
        return {"record": asdict(record)}

    def _rewrite(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit.rounds import KIND, keys
        from agentkit_memory.embed import embed_record

        record = self._record(request, session)["record"]
        if record["kind"] not in WRITTEN:
            raise ConfigError(
                "a passage of a file is not edited here", hint=f"edit {record['source']}, and index it again"
            )
        text, title = _memory(request["text"]), ""
        if record["kind"] == KIND:
            title = keys(text, datetime.fromtimestamp(record["created"]).astimezone())
        vectors = embed_record(self._service.embedder(), record["kind"], title, text)
        with self._service.runs.forgetting():
            self._service.vault.rewrite(record["id"], text, vectors, title=title)
        return {"id": record["id"]}

    def _reembed(self, request: dict[str, Any], session: Session) -> Mapping[str, Any]:
        from agentkit.indexing.writing import BULK_AFTER_CHUNKS

        vault, light = self._service.vault, self._service.embedder(any_vault=True)
        if (vault.embedder, vault.dimensions) == (light.name, light.dimensions) and not request.get("again"):
            return {"embedder": light.name, "reembedded": 0}
        with self._service.index.bulk() as bulk:  # started at its first use
            try:
                few = vault.count() <= BULK_AFTER_CHUNKS
                self._follow(vault.reembed(light, bulk=light if few else bulk), session)
            except EngineError:  # the light one gives the same vectors, only later, and goes on from there
                self._follow(vault.reembed(light), session)
        return {"embedder": light.name, "reembedded": vault.count()}

    @staticmethod
    def _follow(work: Iterable[Reembedded], session: Session) -> None:
        for progress in work:
            session.check()
            session.emit({"type": "Progress", "done": progress.done, "total": progress.total})


def _memory(given: object) -> str:
    """Return a text that may be remembered."""
    text = str(given).strip()
    if not text:
        raise ConfigError("there is nothing to remember")
    if len(text) > MAX_MEMORY_CHARACTERS:
        raise LimitError(
            f"a memory of {len(text)} characters is over the limit of {MAX_MEMORY_CHARACTERS}",
            hint="index it as a document instead",
        )
    return text


def _filter(request: Mapping[str, Any]) -> Filter:
    from agentkit_memory import Filter

    return Filter(
        kinds=tuple(request.get("kinds") or ()),
        under=str(request.get("under") or ""),
        source=str(request.get("source") or ""),
        origins=_labels(Origin, request.get("origins")),
        privacies=_labels(Privacy, request.get("privacies")),
        since=_time(request.get("since")),
        until=_time(request.get("until")),
    )


def _labels(known: type[Origin | Privacy], given: Iterable[object] | None) -> tuple[str, ...]:
    """Return the labels asked for; one that does not exist would find nothing, and say nothing."""
    labels = tuple(map(str, given or ()))
    if not set(labels) <= set(known):
        raise ConfigError(f"there is no such {known.__name__.lower()}", hint=f"one of {', '.join(known)}")
    return labels


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
