"""Which versions of CrewAI crewmem works with: a range, and the hooks that must be there.

CrewAI's hooks are young. 1.15.0 to 1.15.2 lack them, 1.15.3 to 1.15.5 do not say how a kickoff failed. A later minor version
may change what is hooked, so each is tried before the upper bound moves.
"""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from crewmem_producers.errors import missing_extra

from crewmem.errors import UnsupportedCrewAI

LEAST, BELOW = (1, 15, 6), (1, 16)
RANGE = ">=1.15.6,<1.16"
"""The same as the extra `crewai` in pyproject.toml says."""
REMEDY = f'run  pip install "crewai{RANGE}"  or  uv add "crewai{RANGE}"'

_NEEDED = {
    "crewai.hooks": ("HookAborted", "InterceptionPoint", "get_hooks", "register_hook", "unregister_hook"),
    "crewai.hooks.contexts": ("ExecutionEndContext",),
    "crewai.hooks.dispatch": ("dispatch",),
    "crewai.utilities.crew.crew_context": ("get_crew_context",),
}
_POINTS = ("EXECUTION_START", "INPUT", "PRE_MODEL_CALL", "EXECUTION_END")


def installed_version() -> str | None:
    """CrewAI's version, None where it is not installed. Loads nothing."""
    try:
        return version("crewai")
    except PackageNotFoundError:
        return None


def require_crewai() -> None:
    """Raise MissingExtra without CrewAI, and UnsupportedCrewAI for a version that cannot be used. Loads CrewAI."""
    if find_spec("crewai") is None:
        raise missing_extra("crewai", "crewai")
    if problem := unsupported():
        raise UnsupportedCrewAI(f"{problem}: {REMEDY}")


def unsupported() -> str | None:
    """What is wrong with the CrewAI that is installed, None if nothing is. Loads CrewAI, unless its version already says it."""
    found = installed_version()
    if found is not None and not _in_range(found):
        return f"crewai {found} is installed, and crewmem works with {RANGE}"
    if missing := _missing():
        number = found or "of an unknown version"
        return f"crewai {number} is installed, and lacks {', '.join(missing)}; crewmem works with {RANGE}"
    return None


def _in_range(text: str) -> bool:
    release = re.match(r"\d+(?:\.\d+)*", text)
    return release is not None and LEAST <= tuple(int(part) for part in release.group().split(".")) < BELOW


def _missing() -> list[str]:
    """The names of CrewAI that crewmem needs and that are not there."""
    missing = []
    for module, names in _NEEDED.items():
        try:
            found = import_module(module)
        except ImportError:
            missing.append(module)
        else:
            missing += [f"{module}.{name}" for name in names if not hasattr(found, name)]
    return missing or _missing_parts()


def _missing_parts() -> list[str]:
    points = import_module("crewai.hooks").InterceptionPoint
    missing = [f"InterceptionPoint.{name}" for name in _POINTS if not hasattr(points, name)]
    if "error" not in {field.name for field in fields(import_module("crewai.hooks.contexts").ExecutionEndContext)}:
        missing.append("ExecutionEndContext.error")
    return missing
