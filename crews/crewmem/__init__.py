"""crewmem: what one crew finds out, the next one starts with.

    import crewmem
    crewmem.install(session="project_alpha")
    ...
    crew.kickoff()

Everything here but the errors is loaded when it is first used: importing crewmem costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crewmem import errors
from crewmem.errors import *  # noqa: F403  # its __all__ is the list of the public ones

if TYPE_CHECKING:
    from crewmem_producers.events import Event as Event
    from crewmem_producers.events import MemoryRemembered as MemoryRemembered
    from crewmem_producers.names import Scope as Scope

    from crewmem.crew_memory import CrewMemory as CrewMemory
    from crewmem.installing import install as install
    from crewmem.installing import uninstall as uninstall
    from crewmem.memory_crew import MemoryCrew as MemoryCrew
    from crewmem.memstore import Memstore as Memstore
    from crewmem.publishing import Publisher as Publisher
    from crewmem.runs import Run as Run
    from crewmem.runs import last_run as last_run
    from crewmem.sessions import AGENT_ROLE as AGENT_ROLE
    from crewmem.sessions import propagate as propagate
    from crewmem.sessions import session as session
    from crewmem.tools import RecallTool as RecallTool
    from crewmem.tools import RememberTool as RememberTool

    __version__: str

_PUBLIC = {
    "crewmem.installing": ("install", "uninstall"),
    "crewmem.memory_crew": ("MemoryCrew",),
    "crewmem.crew_memory": ("CrewMemory",),
    "crewmem.tools": ("RecallTool", "RememberTool"),
    "crewmem.memstore": ("Memstore",),
    "crewmem.sessions": ("AGENT_ROLE", "propagate", "session"),
    "crewmem.runs": ("Run", "last_run"),
    "crewmem.publishing": ("Publisher",),
    "crewmem_producers.events": ("Event", "MemoryRemembered"),
    "crewmem_producers.names": ("Scope",),
}
"""Module -> the public names that live in it; beside them the errors."""
_OF_CREWAI = frozenset({"crewmem.crew_memory", "crewmem.tools"})
"""Modules whose classes derive from CrewAI's."""
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *sorted({*_HOME, *errors.__all__})]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("crewmem")
    elif name in _HOME:
        value = _loaded(name)
    else:
        raise AttributeError(f"module 'crewmem' has no attribute {name!r}")
    globals()[name] = value
    return value


def _loaded(name: str) -> Any:
    """Raises MissingExtra where CrewAI is needed and not installed, UnsupportedCrewAI for a version that cannot be used."""
    if _HOME[name] in _OF_CREWAI:
        from crewmem.supported_crewai import require_crewai

        require_crewai()
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "crewai":
            raise
        from crewmem_producers.errors import missing_extra

        raise missing_extra("crewai", "crewai") from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
