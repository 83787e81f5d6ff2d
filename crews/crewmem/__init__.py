"""crewmem: what one crew finds out, the next one starts with.

    import crewmem
    crewmem.install(session="project_alpha")
    ...
    crew.kickoff()

Everything here is loaded when it is first used: importing crewmem costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crewmem_producers.publisher import Publisher

    from crewmem.crew_memory import CrewMemory
    from crewmem.errors import (
        CrewmemError,
        EventRefused,
        EventTooLarge,
        InvalidEvent,
        InvalidName,
        KeyRefused,
        LogUnavailable,
        MissingExtra,
        NotFound,
        NotFresh,
        OutboxBroken,
        OutboxFull,
        RequestRefused,
        RightRefused,
        ServiceUnavailable,
        SessionMissing,
        SettingsError,
        TokenTimeout,
        TransportRefused,
    )
    from crewmem.installing import install
    from crewmem.memory_crew import MemoryCrew
    from crewmem.memstore import Memstore
    from crewmem.runs import Run, last_run
    from crewmem.sessions import AGENT_ROLE, session
    from crewmem.tools import RecallTool, RememberTool

_HOME = {
    "Publisher": "crewmem_producers.publisher",
    "CrewMemory": "crewmem.crew_memory",
    "install": "crewmem.installing",
    "MemoryCrew": "crewmem.memory_crew",
    "Memstore": "crewmem.memstore",
    "Run": "crewmem.runs",
    "last_run": "crewmem.runs",
    "AGENT_ROLE": "crewmem.sessions",
    "session": "crewmem.sessions",
    "RecallTool": "crewmem.tools",
    "RememberTool": "crewmem.tools",
    "CrewmemError": "crewmem.errors",
    "EventRefused": "crewmem.errors",
    "EventTooLarge": "crewmem.errors",
    "InvalidEvent": "crewmem.errors",
    "InvalidName": "crewmem.errors",
    "KeyRefused": "crewmem.errors",
    "LogUnavailable": "crewmem.errors",
    "MissingExtra": "crewmem.errors",
    "NotFound": "crewmem.errors",
    "NotFresh": "crewmem.errors",
    "OutboxBroken": "crewmem.errors",
    "OutboxFull": "crewmem.errors",
    "RequestRefused": "crewmem.errors",
    "RightRefused": "crewmem.errors",
    "ServiceUnavailable": "crewmem.errors",
    "SessionMissing": "crewmem.errors",
    "SettingsError": "crewmem.errors",
    "TokenTimeout": "crewmem.errors",
    "TransportRefused": "crewmem.errors",
}
"""Every public name -> the module that it lives in."""

__all__ = [
    "AGENT_ROLE",
    "CrewMemory",
    "CrewmemError",
    "EventRefused",
    "EventTooLarge",
    "InvalidEvent",
    "InvalidName",
    "KeyRefused",
    "LogUnavailable",
    "MemoryCrew",
    "Memstore",
    "MissingExtra",
    "NotFound",
    "NotFresh",
    "OutboxBroken",
    "OutboxFull",
    "Publisher",
    "RecallTool",
    "RememberTool",
    "RequestRefused",
    "RightRefused",
    "Run",
    "ServiceUnavailable",
    "SessionMissing",
    "SettingsError",
    "TokenTimeout",
    "TransportRefused",
    "install",
    "last_run",
    "session",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crewmem' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
