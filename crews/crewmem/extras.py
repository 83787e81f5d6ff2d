"""Optional parts: what is missing is named with the command that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from crewmem.errors import MissingExtra


def require_crewai() -> None:
    """Raises MissingExtra where CrewAI is not installed."""
    if find_spec("crewai") is None:
        raise MissingExtra('CrewAI is not installed: pip install "crewmem[crewai]"')
