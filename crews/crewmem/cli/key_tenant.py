"""Whose memories the API key of the settings reaches: the registry knows, and CREWMEM_TENANT need not agree with it."""

from __future__ import annotations

from crewmem_producers.names import Scope
from crewmem_producers.registry import Registry
from crewmem_producers.settings import CrewSettings


def key_tenant(settings: CrewSettings, registry: Registry) -> str | None:
    """The tenant of the settings' key; CREWMEM_TENANT where there is no key (the one that `crewmem up` is going to make is of
    that tenant), and None for a key that the registry does not know."""
    from crewmem_store import keys

    key = settings.resolved_api_key()
    if key is None:
        return settings.tenant
    record = registry.get(keys.PREFIX + keys.hash_key(key))
    return None if record is None else str(record["tenant"])


def unknown_session(scope: Scope, reached: str | None) -> str:
    """What to say of a session that the log has nothing of; `reached` is what `key_tenant` gave."""
    said = f"the log has nothing of a session {scope.session!r} of tenant {scope.tenant}: is the name right?"
    if reached in (None, scope.tenant):
        return said
    return f"{said} The API key of these settings is of tenant {reached}: with CREWMEM_TENANT={reached} its session is meant"
