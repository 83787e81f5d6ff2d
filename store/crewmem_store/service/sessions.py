"""Which scopes a call is about: what the caller names, within what its key allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crewmem_producers.names import ALL_SESSIONS, SHARED, Scope
from starlette.concurrency import run_in_threadpool

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key
from crewmem_store.store import StoreReader


def allowed(key: Key, session: str) -> Scope:
    """The scope of one session. Raises InvalidName, RequestRefused (403 forbidden_session)."""
    scope = Scope.of(key.tenant, session)
    if not key.allows(scope.session):
        patterns = ", ".join(key.sessions)
        raise RequestRefused(403, "forbidden_session", f"this key may not use session {scope.session!r}, only {patterns}")
    return scope


async def readable(key: Key, sessions: Sequence[str] | None, reader: StoreReader) -> set[Scope]:
    """The scopes that a recall or a list asks for: `shared` when it names none; with `*`, all that the key may read."""
    if not sessions:
        return {allowed(key, SHARED)}
    if ALL_SESSIONS not in sessions:
        return {allowed(key, session) for session in sessions}
    known = await run_in_threadpool(reader.scopes, key.tenant)
    return set(within(key, known))


def within(key: Key, scopes: Iterable[str]) -> list[Scope]:
    """Those of the scopes that the key may read: of its tenant, and of a session that it may use."""
    parsed = (Scope.parse(scope) for scope in scopes)
    return [scope for scope in parsed if scope.tenant == key.tenant and key.allows(scope.session)]
