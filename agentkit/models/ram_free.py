"""How much memory this process may still take: what the machine has left, and what its control groups allow.

Covered: Linux, control groups of both versions, and each group above ours.
Not covered: what another program takes a moment later; other systems, where nothing is known (`None`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as a number about this large."""


def free_bytes(root: Path = Path("/")) -> int | None:
    """Return the bytes that can be taken without swapping or being killed; `None` where the system does not say.

    Pages of files that can be dropped again count as free: a model that was read before lies in them.

    Args:
        root: Where `proc` and `sys` are.
    """
    limits = [_available(root), *_groups(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _available(root: Path) -> int | None:
    found = _fields(root / "proc/meminfo").get("MemAvailable")
    return None if found is None else found * 1024


def _groups(root: Path) -> Iterator[int | None]:
    """Yield what is left in each memory control group above this process."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for mount in ("sys/fs/cgroup", "sys/fs/cgroup/unified"):
                for folder in _upwards(root / mount, path):
                    yield _left(folder, "memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            for folder in _upwards(root / "sys/fs/cgroup/memory", path):
                yield _left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a group and of all above it; in a container only those from its own root on exist."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _left(folder: Path, limit_file: str, used_file: str, prefix: str) -> int | None:
    limit, used = _number(folder / limit_file), _number(folder / used_file)
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    fields = _fields(folder / "memory.stat")
    droppable = fields.get(f"{prefix}inactive_file", 0) + fields.get(f"{prefix}active_file", 0)
    return max(0, limit - max(0, used - droppable))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _fields(path: Path) -> dict[str, int]:
    """Return the lines `name value` or `name: value …` of a file."""
    fields = {}
    for line in _text(path).splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdecimal():
            fields[words[0]] = int(words[1])
    return fields
