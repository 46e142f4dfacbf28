"""One writer per vault: an advisory lock that the kernel drops when its process dies."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from agentkit_memory.errors import VaultBusyError, disk_errors

FILE = "lock"


class WriterLock:
    """The right to write a vault; held until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of the vault in `folder`.

        Raises:
            VaultBusyError: Somebody holds it.
        """
        with disk_errors("the vault's lock"):
            # Not inherited by programs we start: close-on-exec.
            self._descriptor = os.open(
                folder / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
                os.close(self._descriptor)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                who = f"process {holder}" if holder.isdecimal() else "another process"
                raise VaultBusyError(
                    f"the vault is open in {who}",
                    hint="stop it, or talk to it instead of opening the vault twice",
                ) from None
            # The kernel holds the lock; the number is only for the message, and a full disk must not keep us out.
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
