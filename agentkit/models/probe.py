"""Remember which model and build of llama.cpp crash together when weights are rearranged for the processor.

A default build with gcc 12 dies on processors with AMX at the first decode of more than one token. Every worker
decodes a few tokens when it loads; if it dies of a signal there, the engine starts another one that leaves the
weights as they are (`use_extra_bufts=False`), and this file spares the next start the crash.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path

_MAX_ENTRIES = 64


def probe_key(model: Path) -> str:
    """Return what stands for this model file, this build of llama.cpp and this processor; opens neither."""
    return _digest(str(model.absolute()), *_stamp(model), processor(), library_key())


def library_key() -> str:
    """Return what stands for this build of llama.cpp: another of the same version, with other flags, has another."""
    parts = []
    spec = importlib.util.find_spec("llama_cpp")  # finds it, does not import it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted(Path(folder, "lib").glob("*")):
            parts += [library.name, *_stamp(library)]
    return _digest(importlib.metadata.version("llama-cpp-python"), *parts)


def must_not_repack(cache: Path | None, key: str) -> bool:
    """Return whether a worker is known to have crashed here."""
    return key in _read(cache)


def remember_crash(cache: Path | None, key: str) -> None:
    """Note that a worker crashed here; silently does nothing where the file cannot be written."""
    if cache is None:
        return
    keys = [*_read(cache), key][-_MAX_ENTRIES:]
    draft = cache.with_name(f"{cache.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps({"crashed_when_repacking": keys}), encoding="utf-8")
        draft.replace(cache)
    except OSError:
        pass  # the next start crashes once more, and recovers


def _read(cache: Path | None) -> list[str]:
    if cache is None:
        return []
    try:
        keys = json.loads(cache.read_text(encoding="utf-8"))["crashed_when_repacking"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _stamp(path: Path) -> tuple[str, str]:
    status = path.stat()
    return str(status.st_size), str(status.st_mtime_ns)


def processor() -> str:
    """Return the name of the processor; empty where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line for line in text.splitlines() if line.startswith("model name")), "")
