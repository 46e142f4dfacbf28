"""Keep a workspace fit to be handed to strange programs: what in it is protected, and who owns it.

Some names are obeyed by programs the user runs later, outside any sandbox: hooks in `.git`, tasks in `.vscode`,
shell code in `.envrc`, our own settings. A tool may neither change nor create them: found before a run, they are
made read-only whole (a hook folder alone can be renamed away); new after a run, they are removed.
"""

# Paths are plain strings and descriptors here, for they go to system calls:
# ruff: noqa: PTH111, S108
from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator

from agentkit_tools.errors import SandboxError

PROTECTED_NAMES = frozenset({".git", ".hg", ".vscode", ".idea", ".devcontainer", ".envrc", ".agentkit"})
Identity = tuple[int, int]
"""Device and inode of a file: what stays when it is renamed."""
MOST_ENTRIES = 200_000
MOST_FOLDERS_DEEP = 200
"""A folder stays open for each of them."""
_NOT_A_WORKSPACE = frozenset({
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run",
    "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/tmp",
})  # fmt: skip


def is_protected(name: str) -> bool:
    """Return whether `name`, one part of a path, is protected; case does not matter, for some disks ignore it."""
    return name.casefold() in PROTECTED_NAMES


def check(workspace: str) -> None:
    """Refuse a folder that is no workspace: absent, a link, or one the whole system lives in.

    Raises:
        SandboxError: It is one of these.
    """
    try:
        mode = os.lstat(workspace).st_mode
    except OSError as error:
        raise SandboxError(f"workspace {workspace} cannot be used: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise SandboxError(f"workspace {workspace} is not a folder")
    real = os.path.realpath(workspace)
    if real in _NOT_A_WORKSPACE or real == os.path.realpath(os.path.expanduser("~")):
        raise SandboxError(
            f"workspace {workspace} holds more than a tool may touch", hint="use a folder of its own"
        )


def protected_paths(workspace: str) -> dict[str, Identity]:
    """Return the absolute path and identity of what is protected in `workspace`, without looking inside it.

    Raises:
        SandboxError: The workspace has too many entries to look through, or a protected name is a link.
    """
    found = {}
    for folder, name, fd in _entries(workspace):
        if is_protected(name):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                raise SandboxError(
                    f"{folder}/{name} is a link, which a tool could turn elsewhere",
                    hint="use another workspace",
                )
            found[f"{folder}/{name}"] = (status.st_dev, status.st_ino)
    return found


def remove_new(workspace: str, known: set[Identity]) -> list[str]:
    """Remove what is protected and was not in `known`; return the removed paths, relative to the workspace.

    By identity, not by path: a folder that holds a protected one can be renamed, and another put in its place.
    Call when nothing the tool started is left running.

    Raises:
        SandboxError: Something of it is left, or the workspace cannot be looked through; all else is removed.
    """
    removed, left = [], []
    for folder, name, fd in _entries(workspace, let_in=True):
        if not is_protected(name):
            continue
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if (status.st_dev, status.st_ino) in known:
            continue
        path = os.path.relpath(f"{folder}/{name}", workspace)
        try:
            _remove(name, fd, is_folder=stat.S_ISDIR(status.st_mode))
            removed.append(path)
        except OSError:
            left.append(path)
    if left:
        raise SandboxError(
            f"a tool left {len(left)} protected files in the workspace, the first is {left[0]}",
            hint="remove them before any program sees them",
        )
    return removed


def _remove(name: str, dir_fd: int, *, is_folder: bool) -> None:
    # under a name the tool cannot have taken: renaming works also where removing would get stuck inside
    harmless = f".removed-{secrets.token_hex(8)}"
    os.fchmod(
        dir_fd, stat.S_IMODE(os.fstat(dir_fd).st_mode) | 0o700
    )  # the tool may have made the folder read-only
    os.rename(name, harmless, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    if is_folder:
        _open_up(harmless, dir_fd)
        shutil.rmtree(harmless, ignore_errors=True, dir_fd=dir_fd)
    else:
        os.unlink(harmless, dir_fd=dir_fd)


def _open_up(folder: str, dir_fd: int) -> None:
    """Let ourselves into a folder and all below it, whatever modes the tool left."""
    os.chmod(folder, 0o700, dir_fd=dir_fd)
    for _, folders, _, fd in os.fwalk(folder, dir_fd=dir_fd, follow_symlinks=False):
        for name in folders:
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=fd)


def give_to(workspace: str, uid: int, gid: int) -> None:
    """Make everything in `workspace` that is root's writable for `uid`.

    Files of others, files with a second name elsewhere and protected ones stay as they are. Every step is taken
    from an open folder, so that a link put in the way meanwhile leads nowhere.
    """
    fd = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)
    for _, name, folder_fd in _entries(workspace):
        found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        second_name = not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1
        if found.st_uid == 0 and not second_name and not is_protected(name):
            os.chown(name, uid, gid, dir_fd=folder_fd, follow_symlinks=False)


def _entries(workspace: str, *, let_in: bool = False) -> Iterator[tuple[str, str, int]]:
    """Yield folder, name and the folder's descriptor of everything, not looking into what is protected.

    Args:
        workspace: Its path.
        let_in: Give ourselves the right to look into each folder, whatever mode the tool left.

    Raises:
        SandboxError: It has too many entries, is too deep, or a folder cannot be looked into; the rest comes first.
    """
    seen, unseen = 0, list[str]()
    for folder, folders, files, fd in os.fwalk(workspace, follow_symlinks=False):
        names = folders + files
        seen += len(names)
        if seen > MOST_ENTRIES:
            raise SandboxError(
                f"the workspace holds more than {MOST_ENTRIES} files", hint="use a smaller workspace"
            )
        folders[:] = [name for name in folders if not is_protected(name)]
        for name in _closed(folders, fd):
            if let_in:
                os.chmod(name, 0o700, dir_fd=fd)
            else:
                unseen.append(os.path.relpath(f"{folder}/{name}", workspace))
        if folders and folder.count("/") - workspace.count("/") >= MOST_FOLDERS_DEEP:
            unseen.append(os.path.relpath(folder, workspace))
            folders.clear()
        for name in names:
            yield folder, name, fd
    if unseen:
        raise SandboxError(
            f"{len(unseen)} folders of the workspace cannot be looked into, the first is {unseen[0][:200]}",
            hint="remove them, or use another workspace",
        )


def _closed(folders: list[str], dir_fd: int) -> Iterator[str]:
    """Yield the folders of our own that we could not look into; into those of others, no tool of ours can, either."""
    for name in folders:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if (
            stat.S_ISDIR(status.st_mode)
            and status.st_mode & 0o500 != 0o500
            and status.st_uid == os.geteuid() != 0
        ):
            yield name
