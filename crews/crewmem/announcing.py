"""One line on stderr at the first kickoff of a process: that memory is at work, and where to look at it."""

from __future__ import annotations

import shlex
import sys
import threading

from crewmem_producers.display import visible_line
from crewmem_producers.errors import CrewmemError, Unavailable
from crewmem_producers.settings import CrewSettings

from crewmem.runs import Run


class _Once:
    """Whether this process has said its line."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = False

    def first(self) -> bool:
        with self.lock:
            before, self.done = self.done, True
            return not before


_once = _Once()


def announce(run: Run, settings: CrewSettings, *, problem: CrewmemError | None) -> None:
    """Print the line after the first kickoff of this process, unless CREWMEM_ANNOUNCE is off.

    `problem` is what the recall met, None where it was answered.
    """
    if settings.announce and _once.first() and sys.stderr is not None:
        print(visible_line(_line(run, settings, problem)), file=sys.stderr)


def _line(run: Run, settings: CrewSettings, problem: CrewmemError | None) -> str:
    sessions = ", ".join(map(repr, run.sessions)) or "none"
    return f"crewmem: session {sessions}: {_recalled(run, problem)}; {_published(run)}. {_remedy(run, settings, problem)}"


def _recalled(run: Run, problem: CrewmemError | None) -> str:
    if problem is not None:
        away = isinstance(problem, Unavailable)
        return "no memory, because the service does not answer" if away else f"no memory, because of an error ({problem})"
    return f"{len(run.memories)} {'memory' if len(run.memories) == 1 else 'memories'} recalled"


def _published(run: Run) -> str:
    if not run.event_ids:
        return "nothing published"
    return "output published" if run.published else f"output waits in the outbox ({run.waiting} waiting)"


def _remedy(run: Run, settings: CrewSettings, problem: CrewmemError | None) -> str:
    """What to type next."""
    if problem is not None or (run.event_ids and not run.published):
        return (
            f"Start the service with `crewmem up`, or set CREWMEM_BASE_URL (now {settings.service_url()}); "
            "`crewmem doctor` says what is wrong"
        )
    options = " ".join(f"--session {shlex.quote(session)}" for session in run.sessions)
    return f"Look: `crewmem list {options}`, or crewmem.last_run() in Python. Hide this line: CREWMEM_ANNOUNCE=off"
