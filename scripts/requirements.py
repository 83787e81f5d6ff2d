"""Prints what pip must install for crewmem and the extras named: pyproject's dependencies without crewmem itself."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras: dict[str, list[str]] = project["optional-dependencies"]


def needs(requirements: list[str]) -> set[str]:
    """Our own extras replaced by what they hold."""
    found: set[str] = set()
    for requirement in requirements:
        if requirement.startswith("crewmem["):
            for extra in requirement[len("crewmem[") : -1].split(","):
                found |= needs(extras[extra])
        else:
            found.add(requirement)
    return found


print(*sorted(needs(project["dependencies"] + [f"crewmem[{','.join(sys.argv[1:])}]"])), sep="\n")
