"""What a run of the command line ends with."""

from __future__ import annotations

from enum import IntEnum

from crewmem_producers.errors import CrewmemError, Unavailable

from crewmem.cli.errors import CheckFailed


class Exit(IntEnum):
    """0 done, 1 a check failed or something is left to do, 2 usage or setting, 3 unreachable, 4 refused with a remedy."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


STOPPED = 130
"""What a shell gives a command that ctrl-C ended, and `crewmem replay` too: it can be run again."""


def exit_code(error: CrewmemError) -> Exit:
    """A failed check is 1, a wrong name, value or file 2, what is away or too slow 3, every other refusal 4."""
    if isinstance(error, CheckFailed):
        return Exit.CHECK_FAILED
    if isinstance(error, Unavailable | TimeoutError):
        return Exit.UNREACHABLE
    if isinstance(error, ValueError):
        return Exit.USAGE
    return Exit.REFUSED
