"""The sealed body: 12-byte nonce, ciphertext and 16-byte tag of AES-256-GCM, bound to event id and record key.

The nonce is random. One key seals for one session, one maker and one UTC day: 2^32 events under one key would leave a chance
of 2^-33 that any two nonces are equal.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from crewmem_producers.errors import InvalidEvent, missing_extra
from crewmem_producers.log import LoggedRecord, Record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_HEADER = "crewmem-key"
"""The header that names the data key of a sealed body."""

NONCE_BYTES = 12
SECRET_BYTES = 32
_RANDOM_DIGITS = 24


def cipher(secret: bytes) -> AESGCM:
    """What seals and opens under a data key of 32 bytes. Raises MissingExtra."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as error:
        raise missing_extra("kafka", "cryptography") from error
    return AESGCM(secret)


def key_id(record: LoggedRecord | Record) -> str | None:
    """The id of the data key that sealed the record's body; None of a plain one."""
    return record.header(KEY_HEADER)


def new_key_id(scope_key: str) -> str:
    """A data key's id: 24 random hex digits, and 8 that bind them to the session's record key."""
    digits = os.urandom(_RANDOM_DIGITS // 2).hex()
    return digits + _bound(digits, scope_key)


def check_key_id(id: str, scope_key: str) -> None:
    """Raises InvalidEvent for an id that cannot be one of this session's: so a header that was changed, or copied from another
    session, is told from a key that is not here yet."""
    if id[_RANDOM_DIGITS:] != _bound(id[:_RANDOM_DIGITS], scope_key):
        raise InvalidEvent(f"{KEY_HEADER} names no data key of the record's session", reason="bad_seal")


def seal(body: bytes, *, cipher: AESGCM, record: LoggedRecord | Record) -> bytes:
    """The body sealed for this record's event id and key."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, body, _bound_to(record))


def unseal(body: bytes, *, cipher: AESGCM, record: LoggedRecord | Record) -> bytes:
    """What was sealed. Raises InvalidEvent (`bad_seal`) when a bit of it, of its event id or of its key is another."""
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _bound_to(record))
    except (InvalidTag, ValueError) as error:  # ValueError: shorter than a nonce
        raise InvalidEvent("the sealed body, its event id or its key is not as it was sealed", reason="bad_seal") from error


def _bound_to(record: LoggedRecord | Record) -> bytes:
    return (record.header("ce_id") or "").encode() + b"\n" + (record.key or b"")


def _bound(digits: str, scope_key: str) -> str:
    return hashlib.sha256(f"{digits}\n{scope_key}".encode()).hexdigest()[:8]
