"""The recovery code: a random secret to be printed and put away, which opens the vault like a passphrase.

    KQ3T-7M0A-…    nine groups of four of Crockford's base 32: 160 random bits, then 20 bits of their SHA-256

The check tells a mistyped code from a wrong one. I, L and O are read as 1, 1 and 0; case, spaces and hyphens do
not matter.
Source: https://www.crockford.com/base32.html; format in memory/README.md §2.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from agentkit_memory.errors import RecordError

SECRET_BYTES: Final = 20
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS: Final = 36
_CHECK_BITS: Final = 20
_READ_AS: Final = str.maketrans({"I": "1", "L": "1", "O": "0", " ": None, "-": None, "\n": None, "\r": None})


def generate() -> str:
    """Return a fresh code."""
    return write(os.urandom(SECRET_BYTES))


def write(secret: bytes) -> str:
    """Return the code of 20 bytes."""
    number = int.from_bytes(secret, "big") << _CHECK_BITS | _check(secret)
    digits = [_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_DIGITS))]
    return "-".join("".join(digits[start : start + 4]) for start in range(0, _DIGITS, 4))


def read(code: str) -> bytes:
    """Return the 20 bytes of a code as somebody typed it.

    Raises:
        RecordError: It is no code, or mistyped.
    """
    digits = code.upper().translate(_READ_AS)
    if len(digits) != _DIGITS or any(digit not in _ALPHABET for digit in digits):
        raise RecordError(f"a recovery code has {_DIGITS} letters and digits")
    number = 0
    for digit in digits:
        number = number << 5 | _ALPHABET.index(digit)
    secret = (number >> _CHECK_BITS).to_bytes(SECRET_BYTES, "big")
    if number & (1 << _CHECK_BITS) - 1 != _check(secret):
        raise RecordError(
            "the recovery code is mistyped", hint="compare it with the printed one, group by group"
        )
    return secret


def recognise(passphrase: bytes) -> bytes | None:
    """Return the secret if what was typed as a passphrase is a recovery code."""
    try:
        return read(passphrase.decode("ascii"))
    except (UnicodeDecodeError, RecordError):
        return None


def _check(secret: bytes) -> int:
    return (
        int.from_bytes(hashlib.sha256(b"agentkit recovery code" + secret).digest()[:4], "big")
        >> 32 - _CHECK_BITS
    )
