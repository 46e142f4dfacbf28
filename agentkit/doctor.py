"""Examine this machine: what agentkit needs, what protects it here, and the fix for whatever is wrong.

Works with no vault, no models and no core. Nothing is changed but that a core is started, as for any verb.
Heavy libraries are asked in child processes.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import AgentkitError
from agentkit.models.gpu import NO_CARD_HINT
from agentkit.paths import Home
from agentkit_tools.errors import ToolError

if TYPE_CHECKING:
    from agentkit.client import CoreClient

CHILD_SECONDS = 30
LOW_DISK_BYTES, NO_DISK_BYTES = 2_000_000_000, 100_000_000
LOW_MEMORY_BYTES = 1_000_000_000
FEW_WATCHES = 65_536
FEATURES = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_bf16": "AVX512_BF16", "amx_tile": "AMX_INT8"}
"""Names in /proc/cpuinfo, and in what llama.cpp says of its build."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """It works, with less than there could be."""
    FAIL = "fail"
    """Something agentkit needs is not there."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing examined."""

    name: str
    state: State
    text: str
    fix: str = ""
    """What to type; empty where nothing has to be done."""


def examine(home: Home) -> Iterator[Check]:
    """Yield one check after the other; the slow ones last."""
    yield _python()
    yield _system()
    yield from _core(home)
    yield _keyring()
    yield from _disk(home)
    yield _memory()
    yield _swap(Path("/proc/swaps").read_text(encoding="utf-8") if Path("/proc/swaps").exists() else "")
    yield _core_dumps()
    yield _inotify(Path("/proc/sys/fs/inotify/max_user_watches"))
    yield from build_checks(installed_build(), _processor_flags())
    yield from _models(home)


def _python() -> Check:
    return Check("python", State.OK, f"{platform.python_version()} at {sys.executable}")


def _system() -> Check:
    text = f"{platform.system()} {platform.release()}"
    if platform.system() == "Linux":
        return Check("system", State.OK, text)
    return Check(
        "system", State.WARN, f"{text}: no egress lock and no sandbox on this system", "use Linux for both"
    )


# --- what the core says ------------------------------------------------------------------------------------------


def _core(home: Home) -> Iterator[Check]:
    from agentkit.client import CoreClient

    try:
        with CoreClient.connect(home) as client:
            said = client.request("status")
            probed = _probe(client)
    except AgentkitError as error:
        yield Check("core", State.FAIL, error.message, error.hint or "")
        return
    except OSError as error:
        yield Check(
            "core",
            State.FAIL,
            f"{error.filename or home.root}: {error.strerror}",
            "make that folder writable, or name another in AGENTKIT_HOME",
        )
        return
    yield Check(
        "core", State.OK, f"version {said['version']}, {said['rss_mb']:.0f} MB, process {said['pid']}"
    )
    yield from egress_checks(said["receipt"])
    yield sandbox_check(said["launcher"]["sandbox"])
    yield probed
    yield from vault_checks(said["vault"])
    yield engine_check(said["engine"])


def _probe(client: CoreClient) -> Check:
    """Let the core and a sandboxed tool try to get out, now."""
    name = "tried just now"
    try:
        answers = client.request("probe_egress")
    except ToolError as error:
        return Check(name, State.WARN, f"the sandbox did not run: {error.message}", error.hint or "")
    tried = [f"{who}: {attempt}" for who in ("core", "sandbox") for attempt in answers[who]]
    if "open" in [*answers["core"].values(), *answers["sandbox"].values()]:
        return Check(
            name, State.FAIL, "a way out of the core or of a tool is open", "report this as a defect"
        )
    return Check(name, State.OK, f"{len(tried)} attempts of the core and of a tool, none got out")


def egress_checks(receipt: dict[str, Any]) -> Iterator[Check]:
    """Yield what the receipt of the core says of its locks."""
    tried = receipt["self_test"]
    if tried:
        yield Check("no way out", State.OK, f"the kernel refused the core: {', '.join(tried)}")
    else:
        yield Check("no way out", State.WARN, "nothing is enforced on this system", "use Linux")
    if receipt["namespaces"] == "own":
        yield Check("namespaces", State.OK, "the core has a network of its own, and it is empty")
    else:
        yield Check(
            "namespaces",
            State.WARN,
            receipt["namespaces"],
            "allow user namespaces, as by sysctl kernel.unprivileged_userns_clone=1",
        )
    for each in receipt["not_enforced"]:
        yield Check("not enforced", State.WARN, each, "use a newer kernel")


def sandbox_check(sandbox: dict[str, Any]) -> Check:
    """Say what contains a program that a tool runs."""
    text = f"{sandbox['tier']}: {sandbox['reason']}" if sandbox["reason"] else str(sandbox["tier"])
    if sandbox["tier"] == "bubblewrap":
        return Check("sandbox", State.OK, text)
    if sandbox["tier"] == "none":
        return Check("sandbox", State.WARN, f"{text}; run_python and run_shell refuse", "install bubblewrap")
    return Check("sandbox", State.WARN, f"{text}; it hides less than bubblewrap", "install bubblewrap")


def vault_checks(vault: dict[str, Any]) -> Iterator[Check]:
    """Yield how the vault stands and who can open it."""
    if vault["state"] == "absent":
        yield Check("vault", State.WARN, "there is none yet", "agentkit init")
        return
    counts = f", {vault['records']} records of {vault['files']} files" if vault["state"] == "unlocked" else ""
    yield Check("vault", State.OK, f"{vault['state']}, format {vault['format']}{counts}")
    slots = ", ".join(f"{slot['name']} ({slot['kind']})" for slot in vault["slots"])
    if vault["state"] == "unlocked":
        yield anchor_check(anchored=bool(vault.get("anchored")))
    yield Check("key slots", State.OK if slots else State.FAIL, slots or "nothing opens this vault")


def anchor_check(*, anchored: bool) -> Check:
    """Say whether an older copy of the whole vault would be noticed."""
    if anchored:
        return Check("roll-back", State.OK, "the keyring remembers the newest state of the vault")
    return Check(
        "roll-back",
        State.WARN,
        "no keyring remembers the newest state: an older copy of the whole vault would not be noticed",
        "log in to a desktop session with a keyring",
    )


def engine_check(engine: dict[str, Any] | None) -> Check:
    """Say how the model is loaded, if it is."""
    if not engine:
        return Check("engine", State.OK, "not started yet; the first question starts it")
    fallback = [each["fallback"] for each in engine.values() if each.get("fallback")]
    text = ", ".join(
        f"{name}, " + (f"window of {each['context_tokens']} tokens" if each["worker_pid"] else "not loaded")
        for name, each in engine.items()
    )
    if fallback:
        return Check(
            "engine", State.WARN, f"{text}; {fallback[0]}", "make setup builds one that does not crash"
        )
    return Check("engine", State.OK, text)


# --- what the machine says ---------------------------------------------------------------------------------------


def _keyring() -> Check:
    said = _child("from agentkit.core import keyring_slot; print(keyring_slot.backend() or '')")
    if said:
        return Check(
            "keyring", State.OK, f"{said.split('.')[-2]}: agentkit keyring on lets it open the vault"
        )
    return Check("keyring", State.OK, "none in this session: the passphrase opens the vault")


def _disk(home: Home) -> Iterator[Check]:
    folder = home.root
    while not os.access(folder, os.F_OK):
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free for {home.root}"
    state = State.FAIL if free < NO_DISK_BYTES else State.WARN if free < LOW_DISK_BYTES else State.OK
    yield Check("disk", state, text, "" if state is State.OK else "free some space")
    if folder == home.root and home.root.stat().st_mode & 0o077:
        yield Check("home", State.WARN, f"others may look into {home.root}", f"chmod 700 {home.root}")


def _memory() -> Check:
    path = Path("/proc/meminfo")
    if not path.exists():
        return Check("memory", State.OK, "not known on this system")
    values = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines() if ":" in line)
    free = int(values.get("MemAvailable", "0 kB").split()[0]) * 1024
    text = f"{free / 1e9:.1f} GB available"
    if free < LOW_MEMORY_BYTES:
        return Check("memory", State.WARN, text, "close other programs, or choose a smaller model")
    return Check("memory", State.OK, text)


def _swap(listed: str) -> Check:
    open_swaps = [
        line.split()[0]
        for line in listed.splitlines()[1:]
        if line.split() and not _swap_is_safe(line.split()[0])
    ]
    if not open_swaps:
        return Check("swap", State.OK, "none, in memory, or encrypted")
    return Check(
        "swap",
        State.WARN,
        f"{', '.join(open_swaps)} may keep what was in memory, unencrypted",
        "encrypt the swap or use zram; until then: sudo swapoff -a",
    )


def _swap_is_safe(device: str) -> bool:
    name = Path(device).resolve().name
    if name.startswith("zram"):
        return True
    try:
        return Path(f"/sys/class/block/{name}/dm/uuid").read_text(encoding="ascii").startswith("CRYPT-")
    except OSError:
        return False


def _core_dumps() -> Check:
    try:
        import resource
    except ImportError:
        return Check("core dumps", State.OK, "not known on this system")
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if soft == 0:
        return Check("core dumps", State.OK, "switched off")
    return Check(
        "core dumps",
        State.WARN,
        "a program that crashes writes its memory to disk; the core, which holds the keys, is exempt",
        "ulimit -c 0",
    )


def _inotify(limit: Path) -> Check:
    try:
        watches = int(limit.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Check("inotify", State.OK, "not on this system: changes are found by looking again")
    if watches >= FEW_WATCHES:
        return Check("inotify", State.OK, f"{watches} folders can be watched")
    return Check(
        "inotify",
        State.WARN,
        f"only {watches} folders can be watched",
        "sudo sysctl fs.inotify.max_user_watches=524288",
    )


def installed_build() -> dict[str, Any] | None:
    """Return what the llama.cpp that is installed says of itself; `None` where it cannot be loaded."""
    said = _child("import runpy; runpy.run_module('agentkit.models.build', run_name='__main__')")
    try:
        build = json.loads(said)
    except ValueError:
        return None
    return build if isinstance(build, dict) else None


def build_checks(build: dict[str, Any] | None, flags: set[str]) -> Iterator[Check]:
    """Yield what the build of llama.cpp makes of this processor, and of graphics cards.

    Args:
        build: As `agentkit.models.build` prints it; `None` where llama.cpp cannot be loaded.
        flags: What /proc/cpuinfo says the processor can do.
    """
    has = [name for name in FEATURES if name in flags]
    text = f"{platform.machine()} with {', '.join(has) or 'none of AVX2, AVX-512 and AMX'}"
    if build is None:
        yield Check("llama.cpp", State.FAIL, f"{text}; llama.cpp cannot be loaded", "make setup")
        return
    uses = [name for name, ours in FEATURES.items() if ours in build["features"]]
    text = f"{build['version']}, {text}; the build uses {', '.join(uses) or 'none of them'}"
    if "amx_tile" in uses:
        why = "some compilers get AMX wrong, and the engine then goes without"
        yield Check("llama.cpp", State.WARN, f"{text}; {why}", "make setup")
    elif "avx2" in has and "avx2" not in uses:
        yield Check("llama.cpp", State.WARN, f"{text}; it is slower than it could be", "make setup")
    else:
        yield Check("llama.cpp", State.OK, text)
    yield card_check(build, [path.name for path in Path("/dev").glob("nvidia[0-9]*")])


def card_check(build: dict[str, Any], nodes: Sequence[str]) -> Check:
    """Say which graphics cards the engine can use, and whether one lies idle.

    Args:
        build: As `agentkit.models.build` prints it.
        nodes: Device nodes of cards whose driver is installed.
    """
    cards = [device for device in build["devices"] if "card" in device["kind"]]
    if cards:
        shown = [
            f"{number}: {card['name']}, {card['description']}, {card['free_bytes'] / 1e9:.1f} of "
            f"{card['total_bytes'] / 1e9:.1f} GB free"
            for number, card in enumerate(cards)
        ]
        return Check("graphics card", State.OK, "; ".join(shown))
    if nodes and not build["offloads"]:
        return Check(
            "graphics card",
            State.WARN,
            f"{', '.join(nodes)} is there, but this build of llama.cpp uses the processor only",
            NO_CARD_HINT.partition(", or ask")[0],
        )
    if build["offloads"]:
        return Check(
            "graphics card",
            State.WARN,
            "llama.cpp was built for one and sees none: everything runs on the processor",
            "install the driver of the card",
        )
    return Check("graphics card", State.OK, "none: this build of llama.cpp uses the processor only")


def _processor_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return set()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.split(":", 1)[1].split())
    return set()


def _models(home: Home) -> Iterator[Check]:
    from agentkit.models.catalogue import DEFAULT_CHAT, DEFAULT_EMBEDDING
    from agentkit.models.store import ModelStore

    store = ModelStore(home.models)
    names = {DEFAULT_CHAT, DEFAULT_EMBEDDING} | {model.name for model in store.entries()}
    for name in sorted(names):
        try:
            model = store.verify(name)
        except AgentkitError as error:
            yield Check(f"model {name}", State.FAIL, error.message, f"agentkit models pull {name}")
            continue
        yield Check(f"model {name}", State.OK, f"{model.size / 1e6:.0f} MB, its hash is right")


def _child(code: str) -> str:
    """Run a line of Python in a process of its own and return what it printed, or nothing if it failed."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=CHILD_SECONDS,
            check=False,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
