"""Tenants, sessions and scopes: the names that isolate memories, and what is derived from them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from crewmem_producers.errors import InvalidName
from crewmem_producers.limits import GIVEN_SESSION_CHARACTERS, MARKS_IN_A_RUN, SESSION_CHARACTERS, TENANT_CHARACTERS
from crewmem_producers.marks import has_long_run, normalised

SHARED = "shared"
"""The session of an omitted session: the common knowledge base of a tenant."""

ALL_SESSIONS = "*"
"""What a recall asks for to read every session that its key may read."""

_TENANT = re.compile(rf"[a-z0-9-]{{1,{TENANT_CHARACTERS}}}")


def normalise_session(name: object) -> str:
    """The one spelling of a session name: NFC, outer white space stripped, inner collapsed, 1 to 200 characters.

    Raises InvalidName for anything else than a string, an empty or too long name, more than MARKS_IN_A_RUN combining marks in
    a row, control characters, and `*`.
    """
    if not isinstance(name, str):
        raise InvalidName(f"a session is a string, not {type(name).__name__}")
    if len(name) > GIVEN_SESSION_CHARACTERS:
        raise InvalidName(f"a session has 1 to {SESSION_CHARACTERS} characters, this one has {len(name)}")
    if has_long_run(name):
        raise InvalidName(f"a session has at most {MARKS_IN_A_RUN} combining marks in a row: {name[:40]!r}...")
    collapsed = " ".join(normalised("NFC", name).split())
    if not 1 <= len(collapsed) <= SESSION_CHARACTERS:
        raise InvalidName(f"a session has 1 to {SESSION_CHARACTERS} characters, this one has {len(collapsed)}")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in collapsed):
        raise InvalidName(f"a session has no control characters: {collapsed!r}")
    if collapsed == ALL_SESSIONS:
        raise InvalidName("'*' asks for all sessions when recalling; it is no session to write to")
    return collapsed


def check_tenant(name: object) -> str:
    """The tenant as given. Raises InvalidName unless it matches [a-z0-9-]{1,40}."""
    if not isinstance(name, str) or not _TENANT.fullmatch(name):
        raise InvalidName(f"a tenant matches [a-z0-9-]{{1,40}}: {name!r}")
    return name


class Scope(NamedTuple):
    """Tenant and session: the only thing that isolates. Make one with `Scope.of`, which normalises both."""

    tenant: str
    session: str

    @classmethod
    def of(cls, tenant: object, session: object) -> Scope:
        """Raises InvalidName."""
        return cls(check_tenant(tenant), normalise_session(session))

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The inverse of `str(scope)`. Raises InvalidName."""
        tenant, _, session = text.partition("/")
        return cls.of(unquote(tenant), unquote(session))

    def __str__(self) -> str:
        return _written(self)[0]

    @property
    def key(self) -> str:
        """The record key: tenant, `/`, 32 hex digits of SHA-256(scope); names no session."""
        return _written(self)[1]


@lru_cache(maxsize=65_536)
def _written(scope: Scope) -> tuple[str, str]:
    """The scope as text and as record key. Cached: a batch asks for them ten times an event."""
    text = f"{quote(scope.tenant, safe='')}/{quote(scope.session, safe='')}"
    return text, record_key(text)


@lru_cache(maxsize=65_536)
def record_key(scope: str) -> str:
    """`Scope.key` of `str(scope)`: a batch asks for it of every row."""
    tenant, _, _ = scope.partition("/")
    return f"{tenant}/{hashlib.sha256(scope.encode()).hexdigest()[:32]}"


@lru_cache(maxsize=65_536)
def memory_hash(scope: str, event_id: str, span: str) -> str:
    """32 hex digits that name a memory in any log: SHA-256 over scope, event id and span."""
    return hashlib.sha256("\n".join((scope, event_id, span)).encode()).hexdigest()[:32]


def memory_id(partition: int, scope: str, event_id: str, span: str) -> str:
    """`<partition>-<memory_hash>`."""
    return f"{partition}-{memory_hash(scope, event_id, span)}"


def partition_of(key: str | bytes, partitions: int) -> int:
    """The partition of a record key: murmur2 as Apache Kafka's default partitioner computes it."""
    data = key.encode() if isinstance(key, str) else key
    return (_murmur2(data) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Kafka's murmur2 (org.apache.kafka.common.utils.Utils.murmur2), as an unsigned 32-bit number."""
    mask, m, length = 0xFFFFFFFF, 0x5BD1E995, len(data)
    h = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)
