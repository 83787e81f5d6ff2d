"""What the demo looks up beside the crews: the ledger and the service, as an operator would."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crewmem_producers.settings import CrewSettings, StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.demo.isolation import crew_environment
from crewmem.cli.demo.stack import Stack
from crewmem.cli.errors import CheckFailed
from crewmem.cli.explain import Explained, explain

CREW_SECONDS = 600
_WAIT_SECONDS = 20.0


def run_crew(stack: Stack, folder: Path, name: str, session: str) -> dict[str, Any]:
    """Runs one crew in a process of its own, as if on another machine; what `crew.main` reports. Raises CheckFailed."""
    home = folder / f"machine-{len(list(folder.glob('machine-*'))) + 1}"
    report = folder / f"{home.name}.json"
    command = [sys.executable, "-m", "crewmem.cli.demo.crew", name, session, str(report)]
    environ = crew_environment(stack.url, stack.key_file, home)
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CREW_SECONDS, check=False
    )
    if done.returncode or not report.is_file():
        raise CheckFailed(f"the {name} crew did not run to its end:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return found


class Service:
    """The recall service, asked with the key that `up` keeps."""

    def __init__(self, stack: Stack) -> None:
        self._settings = load(CrewSettings, base_url=stack.url, api_key=stack.key_file.read_text("utf-8").strip())

    def recall(self, query: str, session: str, *, top_k: int = 5) -> list[dict[str, Any]]:
        """The best memories, once everything that the log has acknowledged is in the view."""
        asked = {"q": query, "session": session, "top_k": top_k, "after": "latest", "wait_seconds": _WAIT_SECONDS}
        answer = parts.call(self._settings, "POST", "/v1/memory/recall", json=asked, wait_seconds=_WAIT_SECONDS)
        return list(answer["memories"])

    def memories(self, session: str) -> list[dict[str, Any]]:
        """Everything that the session holds."""
        answer = parts.call(self._settings, "GET", "/v1/memory/list", params={"session": session, "limit": 100})
        return list(answer["memories"])

    def remember(self, content: str, session: str) -> dict[str, Any]:
        """Returns once it is on the log, before it can be recalled."""
        said = {"content": content, "session": session, "wait_seconds": 0}
        return parts.call(self._settings, "POST", "/v1/memory/remember", json=said)


def decisions(stack: Stack, event_ids: Sequence[str]) -> list[Explained]:
    """What became of these events, as `crewmem rules explain` says it."""
    return asyncio.run(_decisions(load(StoreSettings, home=stack.home), event_ids))


async def _decisions(settings: StoreSettings, event_ids: Sequence[str]) -> list[Explained]:
    from crewmem_producers.connect import open_keyring
    from crewmem_store import generations

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        active = generations.active(registry)
        reader, keyring = store.reader(active.name), open_keyring(settings, registry)
        found = [await explain(event_id, log=log, reader=reader, generation=active, keyring=keyring) for event_id in event_ids]
        return [record for records in found for record in records]
