"""What `crewmem doctor` checks of this process, the service and the outbox."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crewmem_producers.compat import StrEnum
from crewmem_producers.errors import CrewmemError, ServiceUnavailable, SettingsError
from crewmem_producers.setting_sources import config_path
from crewmem_producers.settings import CrewSettings

EXTRAS = {
    "crewai": ("crewai",),
    "kafka": ("aiokafka",),
    "consumer": ("faststream", "lancedb", "sentence-transformers", "common-expression-language"),
    "recall": ("fastapi", "uvicorn", "lancedb", "sentence-transformers"),
}
"""What each extra brings, as far as a version helps to understand a fault."""

OLD_SECONDS = 300
"""An event that waits in the outbox for longer is worth a look."""


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was seen, and what to do about it."""

    name: str
    state: State
    said: str
    remedy: str = ""

    def json(self) -> dict[str, Any]:
        return asdict(self)


def failed(name: str, error: CrewmemError, remedy: str = "") -> Finding:
    """A check that ended with an error, whose text is its remedy unless another is given."""
    return Finding(name, State.FAIL, str(error), remedy)


def settings() -> Finding:
    """Where settings come from; unknown names stop every command before it begins."""
    path = config_path()
    return Finding("settings", State.OK, f"read from the environment and {path}" if path else "read from the environment")


def versions() -> Finding:
    """What is installed."""
    there = {"crewmem": version("crewmem"), "Python": platform.python_version()}
    missing = []
    for extra, packages in EXTRAS.items():
        found = {package: _version(package) for package in packages}
        there |= {package: number for package, number in found.items() if number}
        if not all(found.values()):
            missing.append(extra)
    said = ", ".join(f"{package} {number}" for package, number in there.items())
    if missing:
        remedy = "; ".join(f'for [{extra}]: pip install "crewmem[{extra}]"' for extra in missing)
        return Finding("versions", State.WARN, said, remedy)
    return Finding("versions", State.OK, said)


def crewai() -> Finding:
    """Whether crewmem works with the CrewAI that is installed."""
    from crewmem.supported_crewai import RANGE, REMEDY, installed_version, unsupported

    if installed_version() is None:
        return Finding("crewai", State.SKIP, "not installed here: a crew's environment has it")
    if problem := unsupported():
        return Finding("crewai", State.FAIL, problem, REMEDY)
    return Finding("crewai", State.OK, f"{installed_version()} is within {RANGE}, and has every hook that crewmem needs")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def service(crew: CrewSettings) -> list[Finding]:
    """Whether the recall service answers, and takes the key."""
    from crewmem.client import Client
    from crewmem.errors import KeyRefused, RightRefused

    try:
        client = Client(crew)
    except SettingsError as error:
        return [failed("service", error)]
    try:
        client.call("GET", "/health/ready")
        ready = Finding("service", State.OK, f"{crew.service_url()} is ready")
        client.call("GET", "/v1/memory/list", params={"session": crew.session or "*", "limit": 1})
    except ServiceUnavailable as error:
        return [failed("service", error, "start it with `crewmem up` or `crewmem serve`, or mend CREWMEM_BASE_URL")]
    except KeyRefused as error:
        return [ready, failed("key", error, "make one with `crewmem keys create` and set CREWMEM_API_KEY")]
    except RightRefused as error:
        return [ready, Finding("key", State.WARN, str(error), "`crewmem keys list` shows what a key may do")]
    except CrewmemError as error:
        return [failed("service", error)]
    finally:
        client.close()
    return [ready, Finding("key", State.OK, "the service takes it")]


def outbox(crew: CrewSettings) -> Finding:
    """What waits on this machine."""
    from crewmem_producers.filesystem import warning

    from crewmem.cli.outbox import statuses

    found = statuses(crew)
    waiting = sum(one["depth"] for one in found)
    letters = sum(one["dead_letters"] for one in found)
    oldest = max((one["oldest_seconds"] or 0 for one in found), default=0)
    said = f"{waiting} events wait in {crew.outbox_folder}" + (f", the oldest for {oldest:.0f} s" if waiting else "")
    said += f"; {letters} were refused for ever" if letters else ""
    problem = warning(crew.outbox_folder) if found else None
    if letters or (waiting and oldest > OLD_SECONDS):
        return Finding("outbox", State.WARN, said, "`crewmem outbox status` says why; `crewmem outbox flush` sends what waits")
    return Finding("outbox", State.WARN, said, problem) if problem else Finding("outbox", State.OK, said)
