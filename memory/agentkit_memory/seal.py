"""Seal one blob with AES-256-GCM under a key of its own.

Each blob draws a fresh salt, and its key comes from HKDF over that salt: a key seals once, so the nonce is constant
and can never repeat. Covered: confidentiality and integrity of one blob, bound to its place by `associated_data`.
Not covered: its length (visible), and whether it is the newest (the caller binds what it belongs to).
Source: NIST SP 800-38D; format in memory/README.md §5.
"""

from __future__ import annotations

import os
from typing import Final

from agentkit_memory.errors import TamperedError
from agentkit_memory.keys import NONCE_BYTES, expand

MAGIC: Final = b"AKSEAL01"
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
_NONCE: Final = bytes(NONCE_BYTES)


def seal(key: bytes, data: bytes, associated_data: bytes) -> bytes:
    """Return `data` sealed: magic, salt, ciphertext with tag."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt = os.urandom(SALT_BYTES)
    return MAGIC + salt + AESGCM(expand(key, "seal", salt)).encrypt(_NONCE, data, associated_data)


def unseal(key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        TamperedError: It was changed, cut, sealed under another key or for another place.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    start = len(MAGIC) + SALT_BYTES
    if not sealed.startswith(MAGIC) or len(sealed) < start + TAG_BYTES:
        raise TamperedError("a sealed file is cut or of another kind")
    salt = sealed[len(MAGIC) : start]
    try:
        return AESGCM(expand(key, "seal", salt)).decrypt(_NONCE, memoryview(sealed)[start:], associated_data)
    except InvalidTag:
        raise TamperedError("a sealed file was changed outside of agentkit") from None
