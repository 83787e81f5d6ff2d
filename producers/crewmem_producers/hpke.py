"""HPKE (RFC 9180) over X25519, HKDF-SHA256 and AES-256-GCM: how a data key is wrapped. Imported only where keys are used.

`cryptography` has HPKE of its own since 47; pyhpke would add a dependency that pins `cryptography` below a version.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from crewmem_producers.errors import KeyMissing, SettingsError


def generate() -> bytes:
    """A new private key, 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_half(private: bytes) -> bytes:
    """The public key of a private one, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def wrap(secret: bytes, *, public: bytes, info: bytes) -> bytes:
    """Encapsulated key and ciphertext of `secret`, which only the private half opens, with the same `info`. Raises
    SettingsError for a public key that is no point to seal for."""
    try:
        return _suite().encrypt(secret, X25519PublicKey.from_public_bytes(public), info)
    except ValueError as error:
        raise SettingsError("CREWMEM_MASTER_PUBLIC_KEY: nothing can be sealed for this key") from error


def unwrap(wrapped: bytes, *, private: bytes, info: bytes) -> bytes:
    """The secret that `wrap` was given. Raises KeyMissing where the registry's record is damaged or of another key."""
    try:
        return _suite().decrypt(wrapped, X25519PrivateKey.from_private_bytes(private), info)
    except (InvalidTag, ValueError) as error:
        raise KeyMissing(
            "the registry's record of a data key does not open with the master key that it names: it was damaged or changed. "
            "Restore the registry (`crewmem backup restore`)."
        ) from error


def _suite() -> Suite:
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
