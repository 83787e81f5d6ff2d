"""`crewmem producers`: the hosts that publish, as their relays report them."""

from __future__ import annotations

import asyncio
from typing import Any

from crewmem_producers.compat import iso_time
from crewmem_producers.display import display_name
from crewmem_producers.events import utc_now
from crewmem_producers.producer_report import host_of, reports
from crewmem_producers.settings import KafkaSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table
from crewmem.cli.options import AsJson


def producers(as_json: AsJson = False) -> None:
    """Print every host that publishes: how much waits in its outbox, how old that is, its version, when it was heard."""

    async def heard() -> dict[str, Any]:
        async with parts.registry(load(KafkaSettings)) as registry:
            return {name: dict(value) for name, value in sorted(reports(registry).items())}

    hosts = asyncio.run(heard())
    if as_json:
        print_json(hosts)
    elif not hosts:
        note("no producer has reported yet")
    else:
        columns = ("host", "way", "tenant", "key", "waiting", "oldest", "version", "heard")
        print_table(columns, [(display_name(host_of(name, report)), *_row(report)) for name, report in hosts.items()])


def _row(report: dict[str, Any]) -> tuple[Any, ...]:
    oldest = f"{float(report.get('oldest_seconds') or 0):.0f} s" if report.get("depth") else ""
    return (
        report.get("transport"), report.get("tenant"), report.get("key"), report.get("depth"), oldest, report.get("version"),
        _ago(report.get("seen_at")),
    )  # fmt: skip


def _ago(time: object) -> str:
    if not isinstance(time, str):
        return ""
    seconds = (utc_now() - iso_time(time)).total_seconds()
    return f"{max(seconds, 0):.0f} s ago" if seconds < 600 else time[:19].replace("T", " ")
