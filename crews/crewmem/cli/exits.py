"""What a run of the command line ends with."""

from __future__ import annotations

from enum import IntEnum

from crewmem_producers.errors import CrewmemError, TokenTimeout, Unavailable

from crewmem.cli.errors import CheckFailed


class Exit(IntEnum):
    """0 done, 1 a check failed, 2 usage or setting, 3 unreachable, 4 refused with a remedy."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4


def exit_code(error: CrewmemError) -> Exit:
    """The exit code of an error: what is away is 3, a wrong name, value or file 2, a check 1, every other refusal 4."""
    if isinstance(error, CheckFailed):
        return Exit.CHECK_FAILED
    if isinstance(error, Unavailable | TokenTimeout):
        return Exit.UNREACHABLE
    if isinstance(error, ValueError):
        return Exit.USAGE
    return Exit.REFUSED
