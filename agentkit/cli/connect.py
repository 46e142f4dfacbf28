"""A connection to the core, with the vault opened on demand: by file, by keyring, or by asking.

A passphrase is never an argument and never the value of a variable: it comes from the file named by
`AGENTKIT_PASSPHRASE_FILE`, else the core fetches its own secret from the keyring, else a person types it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

from agentkit.cli.output import Output
from agentkit.errors import LockedError

if TYPE_CHECKING:
    from agentkit.client import CoreClient

TRIES = 3
WEAK_BITS = 50.0
NOT_TEXT = "let the terminal speak UTF-8, or put the bytes into a file named by AGENTKIT_PASSPHRASE_FILE"
NO_TERMINAL = "type it in a terminal, or name a file in AGENTKIT_PASSPHRASE_FILE"


@contextmanager
def connect(
    output: Output, *, unlock: bool = True, start: bool = True, accept_rollback: bool = False
) -> Iterator[CoreClient]:
    """Yield a connection to the core of this user's home, started if need be.

    Args:
        output: Where questions go.
        unlock: Open the vault if it is locked.
        start: Start the core if none runs; otherwise that is an error.
        accept_rollback: Open a vault that is genuine but not the newest.

    Raises:
        NotFoundError: There is no vault yet.
        LockedError: It is locked, and there is nobody to ask.
        WrongPassphraseError: What was given does not open it.
    """
    from agentkit.client import CoreClient

    with CoreClient.connect(start=start) as client:
        if unlock:
            open_vault(client, output, accept_rollback=accept_rollback)
        yield client


def open_vault(client: CoreClient, output: Output, *, accept_rollback: bool = False) -> None:
    """Open the vault: by the passphrase file, else by the keyring, else by asking."""
    from agentkit.passphrase import find_passphrase

    given = find_passphrase(None)
    extra = {"accept_rollback": True} if accept_rollback else {}
    try:
        client.request("unlock", passphrase=given, **extra)  # without one: already open, or by the keyring
    except LockedError as error:
        if given is not None:
            raise
        if not can_ask():
            raise LockedError(error.message, hint=NO_TERMINAL) from error
        _open_by_asking(client, output, extra)


def _open_by_asking(client: CoreClient, output: Output, extra: dict[str, bool]) -> None:
    from agentkit_memory.errors import WrongPassphraseError

    for left in reversed(range(TRIES)):
        try:
            client.request("unlock", passphrase=ask_passphrase("passphrase"), **extra)
        except WrongPassphraseError as error:
            if not left:
                raise
            output.warn(error.message)
        else:
            return


def can_ask() -> bool:
    """Whether a person sits at standard input."""
    return sys.stdin.isatty()


def ask_passphrase(prompt: str) -> bytes:
    """Ask for a passphrase on the terminal without showing it.

    Raises:
        LockedError: There is nobody to ask, or nothing was typed.
    """
    import getpass

    if not can_ask():
        raise LockedError("a passphrase is needed, and there is nobody to ask", hint=NO_TERMINAL)
    try:
        typed = getpass.getpass(f"{prompt}: ")
    except EOFError:
        typed = ""
    except UnicodeDecodeError:
        raise LockedError("what was typed is not valid UTF-8", hint=NOT_TEXT) from None
    if not typed:
        raise LockedError("no passphrase was given", hint="nothing was changed")
    return typed.encode(
        "utf-8", "surrogateescape"
    )  # without a terminal of its own, Python hands bytes on like that


def confirm(question: str) -> bool:
    """Ask a person; anything but y or yes, and nobody to ask, is no. Standard output stays free for the answer."""
    if not can_ask():
        return False
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def passphrase_now() -> bytes:
    """Return the passphrase in use: from the file, or typed."""
    from agentkit.passphrase import find_passphrase

    return find_passphrase(None) or ask_passphrase("passphrase")


def new_passphrase(output: Output) -> bytes:
    """Return the passphrase for a new vault: from the file, or typed twice with a word on its strength.

    Raises:
        LockedError: There is nobody to ask, nothing was typed, or the two differ.
    """
    from agentkit.passphrase import find_passphrase

    given = find_passphrase(None)
    if given is not None:
        return given
    return ask_new_passphrase(output)


def ask_new_passphrase(output: Output) -> bytes:
    """Ask twice for a new passphrase, and say how strong it looks."""
    if can_ask():
        output.note("four or five unrelated words make a good passphrase; it cannot be recovered")
    first = ask_passphrase("new passphrase")
    bits = strength_bits(first.decode("utf-8", "replace"))
    output.note(
        f"about {bits:.0f} bits by its characters{': weak, a longer one is better' if bits < WEAK_BITS else ''}"
    )
    if ask_passphrase("once more") != first:
        raise LockedError("the two passphrases differ", hint="nothing was changed; try again")
    return first


def strength_bits(passphrase: str) -> float:
    """Return an upper bound on how hard a passphrase is to guess, from the kinds of its characters.

    It knows no dictionary: `correct horse` looks better than it is. Runs of one character count once.
    """
    kinds = (
        (str.islower, 26),
        (str.isupper, 26),
        (str.isdigit, 10),
        (str.isspace, 1),
        (lambda each: not each.isalnum() and not each.isspace(), 33),
    )
    alphabet = sum(size for belongs, size in kinds if any(belongs(each) for each in passphrase))
    changes = sum(one != other for one, other in pairwise(passphrase)) + bool(passphrase)
    distinct = len(set(passphrase))
    return changes * math.log2(max(2, min(alphabet, distinct * 2))) if passphrase else 0.0
