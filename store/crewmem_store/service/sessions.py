"""Which scopes a call is about: what the caller names, within what its key allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from crewmem_producers.names import ALL_SESSIONS, SHARED, Scope

from crewmem_store.errors import RequestRefused
from crewmem_store.keys import Key, Right
from crewmem_store.service.fair_pool import FairPool
from crewmem_store.service.view_watch import Sees
from crewmem_store.store import StoreReader


def allowed(key: Key, session: str, right: Right) -> Scope:
    """The scope of one session, where the key has that right. Raises InvalidName, RequestRefused (403 forbidden_session)."""
    scope = Scope.of(key.tenant, session)
    if not key.allows(scope.session, right):
        raise RequestRefused(403, "forbidden_session", forbidden(key, scope.session, right))
    return scope


def forbidden(key: Key, session: str, right: Right) -> str:
    """Why the key may not do that in the session."""
    patterns = ", ".join(grant.pattern for grant in key.session_grants if right in grant.rights)
    only = f"only in {patterns}" if patterns else "nor in any other"
    return f"this key may not {right} in session {session!r}, {only}"


def readable(key: Key, sessions: Sequence[str] | None, reader: StoreReader) -> set[Scope]:
    """The scopes that a recall or a list asks for: `shared` when it names none; with `*`, all that the key may read. Blocks."""
    if not sessions:
        return {allowed(key, SHARED, Right.READ)}
    if ALL_SESSIONS not in sessions:
        return {allowed(key, session, Right.READ) for session in sessions}
    return set(within(key, reader.scopes(key.tenant)))


async def sees(key: Key, sessions: Sequence[str] | None, reader: StoreReader, reads: FairPool) -> Sees:
    """What a call with this key may know of events: those of its tenant; with a key for some sessions only, those of the
    sessions that the call names. An event of another one looks like an event that is not there."""
    if any(grant.pattern == ALL_SESSIONS and Right.READ in grant.rights for grant in key.session_grants):
        return partial(_of_tenant, f"{key.tenant}/")
    scopes = await reads.run(key, partial(readable, key, sessions, reader))
    return {scope.key for scope in scopes}.__contains__


def _of_tenant(prefix: str, scope_key: str | None) -> bool:
    return scope_key is not None and scope_key.startswith(prefix)


def within(key: Key, scopes: Iterable[str]) -> list[Scope]:
    """Those of the scopes that the key may read: of its tenant, and of a session that it may read."""
    parsed = (Scope.parse(scope) for scope in scopes)
    return [scope for scope in parsed if scope.tenant == key.tenant and key.allows(scope.session, Right.READ)]
