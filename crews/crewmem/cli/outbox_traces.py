"""What outboxes of this machine hold of a session that is erased: wiped where it is ours, named where it is not.

An event in an outbox of the HTTP transport has no tenant: that is the API key's. So another outbox with a session of this name
may be another tenant's, and what is in it is left alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from crewmem_producers.destination import SUFFIX, outbox_files, outbox_path
from crewmem_producers.errors import OutboxBroken
from crewmem_producers.names import Scope
from crewmem_producers.outbox import Outbox
from crewmem_producers.settings import CrewSettings

_REMEDY = (
    "if it is of this tenant, run the erase with the settings that published it (CREWMEM_API_KEY and CREWMEM_BASE_URL, or "
    "CREWMEM_KAFKA_BOOTSTRAP and CREWMEM_TENANT)"
)


@dataclass(slots=True)
class Traces:
    """A sentence for each trace that is left: `pending` ones go by waiting, `cannot` ones need somebody."""

    pending: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)


def wipe(settings: CrewSettings, scope: Scope, *, key_tenant: str | None) -> Traces:
    """Deletes what the outboxes of these settings have of the session among their dead letters, wipes in every outbox what was
    delivered, and says what is left. `key_tenant` is the tenant of the settings' API key, None where nobody knows it."""
    traces, own = Traces(), _own(settings, key_tenant)
    for path in outbox_files(settings.outbox_folder):
        outbox = Outbox(path, max_bytes=settings.outbox_max_mb * 1_000_000)
        try:
            _wipe(outbox, scope, traces, ours=path.absolute() in own)
        except OutboxBroken as error:
            traces.pending.append(f"{error}; until then nobody knows whether it holds something of the session")
        finally:
            outbox.close()
    for path in _set_aside(settings.outbox_folder):  # the loop above may just have set one aside
        traces.cannot.append(
            f"{path} was set aside because it was damaged, and may hold events of the session: take out of it what you need, "
            "then delete it"
        )
    return traces


def _own(settings: CrewSettings, key_tenant: str | None) -> Collection[Path]:
    """The outboxes whose events are certainly of the settings' tenant, one a transport."""
    found = {outbox_path(settings)} if settings.kafka_bootstrap else set()
    if key_tenant == settings.tenant:
        found.add(outbox_path(settings.model_copy(update={"kafka_bootstrap": None})))
    return found


def _wipe(outbox: Outbox, scope: Scope, traces: Traces, *, ours: bool) -> None:
    if ours:
        outbox.discard_dead_letters(scope.session)
    elif letters := outbox.count_dead_letters(scope.session):
        traces.cannot.append(f"{outbox.path} may hold {letters} dead letters of it: it belongs to other settings; {_REMEDY}")
    if waiting := outbox.count(scope.session):
        there = f"{waiting} events of it wait in {outbox.path}"
        traces.pending.append(
            f"{there}: they end as forgotten once they are sent"
            if ours
            else f"{there}, or of a session of the same name: it belongs to other settings; {_REMEDY}, and `crewmem outbox "
            "flush` with them"
        )
    if not outbox.tidy():
        traces.pending.append(f"{outbox.path}-wal is in use and may hold what was sent")


def _set_aside(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob(f"*{SUFFIX}.damaged-*")) if not path.name.endswith(("-wal", "-shm"))]
