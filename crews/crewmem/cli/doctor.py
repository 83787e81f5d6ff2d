"""`crewmem doctor`: is everything there that these settings need, and what to do where it is not."""

from __future__ import annotations

import asyncio

from crewmem_producers.display import visible
from crewmem_producers.settings import CrewSettings, ServiceSettings, load

from crewmem.cli.checks import Finding, State
from crewmem.cli.console import out, print_json, working
from crewmem.cli.errors import CheckFailed
from crewmem.cli.options import AsJson

_MARKS = {State.OK: ("ok", "green"), State.WARN: ("look", "yellow"), State.FAIL: ("FAIL", "bold red"), State.SKIP: ("-", "dim")}


def doctor(as_json: AsJson = False) -> None:
    """Check versions, log or broker, store, embedder, consumer, service, key and outbox; say what to do. Exits 1 on a fault."""
    with working("checking"):
        findings = asyncio.run(_findings())
    if as_json:
        print_json([finding.json() for finding in findings])
    else:
        _print(findings)
    failed = [finding.name for finding in findings if finding.state is State.FAIL]
    if failed:
        raise CheckFailed(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")


async def _findings() -> list[Finding]:
    from crewmem.cli import checks, part_checks

    crew, service = load(CrewSettings), load(ServiceSettings)
    here = [checks.settings(), checks.versions(), checks.crewai()]
    return [*here, *await part_checks.parts_here(service), *checks.service(crew), checks.outbox(crew)]


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for finding in findings:
        mark, style = _MARKS[finding.state]
        said = Text(visible(finding.said))
        if finding.remedy:
            said.append(f"\n-> {visible(finding.remedy)}", style="bold" if finding.state is State.FAIL else "")
        table.add_row(Text(mark, style=style), Text(finding.name), said)
    out().print(table)
