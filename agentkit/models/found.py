"""Find GGUF models other programs on this machine keep, so that nobody downloads a model twice.

Only names and the first four bytes are read here; the header is checked when a model is brought in. Links that lead
nowhere, folders that may not be read and unknown layouts are passed over: this is an offer, not an inventory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentkit.models.manifest import name_for

MAX_ENTRIES = 20_000
"""Looked at in one program's folder."""
MAX_DEPTH = 8
MAX_MANIFEST_BYTES = 1 << 20
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A GGUF file in the store of another program."""

    owner: str
    """`ollama`, `lmstudio`, `llamafile`, `llama.cpp`, `jan` or `huggingface`."""
    name: str
    """As its owner calls it."""
    path: Path
    """The file itself, links followed."""
    size_bytes: int

    @property
    def suggested_name(self) -> str:
        """A name for it in our store."""
        return name_for(self.name.replace(":", "-") if self.owner == "ollama" else Path(self.name).name)


def found_models(home: Path | None = None, environment: Mapping[str, str] | None = None) -> list[FoundModel]:
    """Return the models in the stores of Ollama, LM Studio, llamafile, llama.cpp, Jan and the Hugging Face cache.

    Args:
        home: Default: the home folder of this user.
        environment: Default: ours. Where those programs are told to keep their models.
    """
    home = Path.home() if home is None else home
    environment = os.environ if environment is None else environment

    def chosen(variable: str, *otherwise: Path) -> list[Path]:
        value = environment.get(variable)
        return [Path(value).expanduser()] if value else list(otherwise)

    cache = chosen("XDG_CACHE_HOME", home / ".cache")[0]
    data = chosen("XDG_DATA_HOME", home / ".local/share")[0]
    config = chosen("XDG_CONFIG_HOME", home / ".config")[0]
    hub = chosen("HF_HUB_CACHE", chosen("HF_HOME", cache / "huggingface")[0] / "hub")
    places = {
        "lmstudio": [home / ".lmstudio/models", cache / "lm-studio/models"],
        "llamafile": [home / ".llamafile", data / "llamafile", cache / "llamafile"],
        "llama.cpp": chosen("LLAMA_CACHE", cache / "llama.cpp"),
        "jan": [data / "Jan/data/llamacpp/models", config / "Jan/data/llamacpp/models", home / "jan/models"],
    }
    found: dict[Path, FoundModel] = {}
    ollama = chosen("OLLAMA_MODELS", home / ".ollama/models", Path("/usr/share/ollama/.ollama/models"))
    for model in [
        *(model for folder in ollama for model in _ollama(folder)),
        *(
            model
            for owner, folders in places.items()
            for folder in folders
            for model in _plain(owner, folder)
        ),
        *(model for folder in hub for model in _hub(folder)),
    ]:
        found.setdefault(model.path, model)
    return sorted(found.values(), key=lambda model: (model.owner, model.name))


def _ollama(folder: Path) -> Iterator[FoundModel]:
    """Follow manifests/REGISTRY/OWNER/MODEL/TAG to the blob that holds the weights."""
    manifests = folder / "manifests"
    for path in _files(manifests):
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                continue
            layers = json.loads(path.read_bytes())["layers"]
            digests = [layer["digest"] for layer in layers if layer["mediaType"] == _OLLAMA_MODEL]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue
        parts = path.relative_to(manifests).parts
        name = f"{parts[-2]}:{parts[-1]}" if len(parts) > 1 else parts[-1]
        if len(parts) == 4 and parts[1] != "library":
            name = f"{parts[1]}/{name}"
        for digest in digests:
            if isinstance(digest, str) and "/" not in digest:
                yield from _model("ollama", name, folder / "blobs" / digest.replace(":", "-"))


def _hub(folder: Path) -> Iterator[FoundModel]:
    """List models--OWNER--REPOSITORY/snapshots/REVISION/FILE, each a link to a blob."""
    for snapshots in _listed(folder, "models--*/snapshots"):
        repository = snapshots.parent.name.removeprefix("models--").replace("--", "/", 1)
        for path in _files(snapshots):
            if path.suffix.lower() == ".gguf":
                inside = Path(*path.relative_to(snapshots).parts[1:])
                yield from _model("huggingface", f"{repository}/{inside}", path)


def _plain(owner: str, folder: Path) -> Iterator[FoundModel]:
    for path in _files(folder):
        if path.suffix.lower() == ".gguf":
            name = path.relative_to(folder)
            # Jan calls each file model.gguf, in a folder with the name
            yield from _model(
                owner, str(name.parent if name.name == "model.gguf" and name.parent.name else name), path
            )


def _model(owner: str, name: str, path: Path) -> Iterator[FoundModel]:
    try:
        real = path.resolve(strict=True)
        if not real.is_file():
            return
        with real.open("rb") as file:
            if file.read(4) != b"GGUF":
                return
        yield FoundModel(owner, name, real, real.stat().st_size)
    except (OSError, RuntimeError):
        return


def _listed(folder: Path, pattern: str) -> Iterable[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files under `folder`, without following links to folders."""
    seen = 0
    for at, folders, files in os.walk(folder):
        if len(Path(at).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        seen += len(folders) + len(files)
        if seen > MAX_ENTRIES:
            return
        folders.sort()
        for name in sorted(files):
            yield Path(at, name)
