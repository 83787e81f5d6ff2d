"""Master keys: what data keys are wrapped with. The public half seals, the private half opens.

As text a key is `crewmem-master-` (private) or `crewmem-public-`, 64 hex digits, and 8 more that check them: a key with a
slip in it is refused at once, since what is sealed for a key that nobody has is lost.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from crewmem_producers.errors import KeyMissing, missing_extra

PRIVATE = "crewmem-master-"
PUBLIC = "crewmem-public-"
_DIGITS = re.compile(r"[0-9a-f]{72}")
_BETWEEN = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a master key: with it data keys are wrapped, and nothing is opened."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Raises ValueError for what is no public key; the text itself is never said."""
        return cls(_raw(text, PUBLIC))

    @property
    def text(self) -> str:
        """What CREWMEM_MASTER_PUBLIC_KEY takes."""
        return _text(self.raw, PUBLIC)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that name the pair; no secret."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def wrap(self, secret: bytes, *, info: bytes) -> str:
        """The secret under this key, base64. `info` is needed again to unwrap it. Raises MissingExtra, SettingsError."""
        return base64.b64encode(_hpke().wrap(secret, public=self.raw, info=info)).decode()


class MasterKeys:
    """The private keys that a process holds: the first is current, all open. Never shown by `repr`."""

    def __init__(self, private: Iterable[bytes]) -> None:
        """32 bytes each, at least one. Raises MissingExtra without `cryptography`."""
        self._private = {PublicKey(_hpke().public_half(one)): one for one in private}

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self.fingerprints)})"

    @classmethod
    def parse(cls, text: str) -> MasterKeys:
        """Keys with white space or commas between them. Raises ValueError, MissingExtra."""
        return cls(check(text))

    @property
    def current(self) -> PublicKey:
        """The public half of the first key, which new data keys are wrapped with."""
        return next(iter(self._private))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(public.fingerprint for public in self._private)

    def unwrap(self, wrapped: str, *, fingerprint: str, info: bytes) -> bytes:
        """The secret. Raises KeyMissing when the master key of that fingerprint is not held here, or the record is damaged."""
        for public, private in self._private.items():
            if public.fingerprint == fingerprint:
                opened: bytes = _hpke().unwrap(_decoded(wrapped), private=private, info=info)
                return opened
        raise KeyMissing(
            f"the master key {fingerprint} is not held here (CREWMEM_MASTER_KEY holds {', '.join(self.fingerprints)}): "
            "add it, or finish with `crewmem keys rotate-master` where it is held"
        )


MasterSource = Callable[[], MasterKeys | None]
"""The master keys as they are now: a key file may change while a process runs. None: none is held."""


def generate() -> str:
    """A new private key, as CREWMEM_MASTER_KEY takes it. Raises MissingExtra."""
    return _text(_hpke().generate(), PRIVATE)


def check(text: str) -> list[bytes]:
    """The private keys in a text, at least one, without using them. Raises ValueError; the text itself is never said."""
    keys = [_raw(one, PRIVATE) for one in _BETWEEN.split(text.strip()) if one]
    if not keys:
        raise ValueError("no master key: `crewmem keys master` makes one")
    return keys


def _raw(text: str, prefix: str) -> bytes:
    digits = text.strip().removeprefix(prefix)
    if not text.strip().startswith(prefix) or not _DIGITS.fullmatch(digits):
        raise ValueError(f"a key is {prefix} and 72 hex digits; `crewmem keys master` makes a pair")
    raw = bytes.fromhex(digits[:64])
    if digits[64:] != _sum(digits[:64], prefix):
        raise ValueError("the key was not copied as it was made: its last 8 digits do not fit the others")
    return raw


def _text(raw: bytes, prefix: str) -> str:
    return f"{prefix}{raw.hex()}{_sum(raw.hex(), prefix)}"


def _sum(digits: str, prefix: str) -> str:
    return hashlib.sha256((prefix + digits).encode()).hexdigest()[:8]


def _decoded(wrapped: str) -> bytes:
    try:
        return base64.b64decode(wrapped, validate=True)
    except (ValueError, TypeError) as error:
        raise KeyMissing("the registry's record of a data key is damaged: restore the registry") from error


def _hpke() -> ModuleType:
    """Loaded at first use: a process that seals nothing needs no cryptography."""
    try:
        from crewmem_producers import hpke
    except ImportError as error:
        raise missing_extra("kafka", "cryptography") from error
    return hpke
