"""Encrypted memory: records and vectors that never touch a disk in clear."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit_memory.embed import Embedder, HashEmbedder
    from agentkit_memory.errors import (
        DiskFullError,
        EmbedderError,
        EmbeddingMismatchError,
        NewerVaultError,
        RecordError,
        StorageError,
        StoreError,
        TamperedError,
        VaultBusyError,
        VaultClosedError,
        VaultExistsError,
        VaultMissingError,
        VectorIndexError,
        WeakKeyError,
        WrongPassphraseError,
    )
    from agentkit_memory.forgetting import Forgotten
    from agentkit_memory.header import SlotInfo, VaultHeader
    from agentkit_memory.index import ExactIndex, VectorIndex
    from agentkit_memory.keys import KdfParameters
    from agentkit_memory.minilm import MiniLMEmbedder
    from agentkit_memory.record import ConversationInfo, FileState, Filter, Hit, NewRecord, Record
    from agentkit_memory.reembedding import Reembedded
    from agentkit_memory.sentence_transformer import SentenceTransformerEmbedder
    from agentkit_memory.vault import Vault

_HOMES = {
    "embed": ("Embedder", "HashEmbedder"),
    "errors": (
        "DiskFullError",
        "EmbedderError",
        "EmbeddingMismatchError",
        "NewerVaultError",
        "RecordError",
        "StorageError",
        "StoreError",
        "TamperedError",
        "VaultBusyError",
        "VaultClosedError",
        "VaultExistsError",
        "VaultMissingError",
        "VectorIndexError",
        "WeakKeyError",
        "WrongPassphraseError",
    ),
    "forgetting": ("Forgotten",),
    "header": ("SlotInfo", "VaultHeader"),
    "index": ("ExactIndex", "VectorIndex"),
    "keys": ("KdfParameters",),
    "minilm": ("MiniLMEmbedder",),
    "record": ("ConversationInfo", "FileState", "Filter", "Hit", "NewRecord", "Record"),
    "reembedding": ("Reembedded",),
    "sentence_transformer": ("SentenceTransformerEmbedder",),
    "vault": ("Vault",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - grouped by what they are for
    "Vault",
    "NewRecord",
    "Record",
    "Hit",
    "Filter",
    "Forgotten",
    "Reembedded",
    "FileState",
    "ConversationInfo",
    "Embedder",
    "HashEmbedder",
    "MiniLMEmbedder",
    "SentenceTransformerEmbedder",
    "VectorIndex",
    "ExactIndex",
    "KdfParameters",
    "VaultHeader",
    "SlotInfo",
    "StoreError",
    "DiskFullError",
    "EmbedderError",
    "EmbeddingMismatchError",
    "NewerVaultError",
    "RecordError",
    "StorageError",
    "TamperedError",
    "VaultBusyError",
    "VaultClosedError",
    "VaultExistsError",
    "VaultMissingError",
    "VectorIndexError",
    "WeakKeyError",
    "WrongPassphraseError",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
