"""The errors of the command line.

CrewmemError
├── CheckFailed   a check found something wrong (exit code 1)
├── HomeInUse     another `crewmem up` runs on the same folder
├── AddressInUse  something else listens where the service should
├── UnknownEvent  no event of that id has been processed
└── UnknownLetter no dead letter of that id or position
"""

from __future__ import annotations

from crewmem_producers.errors import CrewmemError


class CheckFailed(CrewmemError):
    """A check found something wrong; what it printed says what, and what to do."""


class HomeInUse(CrewmemError):
    """Another `crewmem up` runs on this folder. Stop that one, or choose another folder with `--home`."""


class AddressInUse(CrewmemError):
    """Something else listens on this address. Stop it, or choose another port with `--port`."""


class UnknownEvent(CrewmemError, LookupError):
    """No event of that id has been processed. Check the id (`crewmem list --json`), or wait for the consumer."""


class UnknownLetter(CrewmemError, LookupError):
    """No dead letter has that event id or position. `crewmem dlq list` shows the open ones, with `--where true` all."""
