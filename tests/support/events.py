"""Events for tests."""

from __future__ import annotations

from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.names import Scope


def remembered(content: str, *, session: str = "s", tenant: str = "default", **fields: object) -> Event:
    body = MemoryRemembered(content=content, **fields)  # type: ignore[arg-type]
    return Event(body=body, scope=Scope.of(tenant, session), source="test")


def kickoff(*outputs: str, session: str = "s", **fields: object) -> Event:
    """A kickoff with one task per output."""
    tasks = [TaskOutput(index=index, key=f"k{index}", agent_role="Researcher", raw=raw) for index, raw in enumerate(outputs)]
    body = KickoffCompleted(tasks=tasks, raw=outputs[-1] if outputs else "", **fields)  # type: ignore[arg-type]
    return Event(body=body, scope=Scope.of("default", session), source="test")


def contents(events: list[Event]) -> list[str]:
    """What was remembered, in order."""
    return [event.body.content for event in events if isinstance(event.body, MemoryRemembered)]
