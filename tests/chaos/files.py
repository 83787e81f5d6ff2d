"""Raw files, when everything rests: no text of what was erased is in any of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chaos.expected import Expected
from chaos.findings import BACK, Findings
from chaos.workload import TAG, Workload, tags
from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered
from support import raw_files

EMPTY = (".index", ".timeindex")
"""Kafka's files of numbers, which it makes 10 MB large at once."""


def erased_tags(wanted: Expected, workloads: Iterable[Workload], readable: Iterable[str]) -> set[str]:
    """Tags of the texts that nobody may find any more: those of the events on the log that nobody can open. `readable` are
    the contents of all others: one of them may say again what an erased one said."""
    events = {workload.name: workload for workload in workloads}
    gone: set[str] = set()
    for event_id in {record.header("ce_id") or "" for record in wanted.unreadable.values()}:
        _, _, rest = event_id.partition("-")
        name, _, number = rest.partition("-")[2].partition("-")
        if name in events and number.isdecimal():
            gone |= {tag for content in contents(events[name].event(int(number))) for tag in tags(content)}
    return gone - {tag for content in readable for tag in tags(content)}


def contents(event: Event) -> list[str]:
    """The texts of an event of the workload."""
    match event.body:
        case MemoryRemembered(content=content):
            return [content]
        case KickoffCompleted(tasks=tasks):
            return [task.raw for task in tasks]
    return []


def check_files(folders: Iterable[Path], erased: set[str], findings: Findings) -> tuple[int, int]:
    """Looks into every file of the folders; (files, tags of any text that were found: some, or the search is blind)."""
    files, seen = 0, set[str]()
    for folder in folders:
        for path, texts in raw_files.contents(folder, without=EMPTY):
            files += 1
            here = {tag.decode() for text in texts for tag in TAG.findall(text)}
            seen |= here
            if back := here & erased:
                findings.add(BACK, f"{path} holds {len(back)} erased texts, such as {min(back)}")
    return files, len(seen)
