"""What a worker process does with a record in tests: `prepare`, but for contents that ask for something else."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

from crewmem_consumers.prepare import Outcome, Work, attempt
from crewmem_producers.events import MemoryRemembered

PLACE = "support.costly:attempt_or_misbehave"
NEVER_ENDS = "never ends"
SLEEPS = "sleeps for ever"
EATS_MEMORY = "eats memory"
CRASHES = "crashes"
DIES_ONCE = "dies once: "
IS_KILLED = "is killed"


def attempt_or_misbehave(work: Work) -> Outcome:
    said = work.event.body.content if isinstance(work.event.body, MemoryRemembered) else ""
    if said == NEVER_ENDS:  # in one call of C that holds the interpreter's lock
        re.match(r"(a+)+$", "a" * 60 + "b")
    elif said == SLEEPS:
        time.sleep(3600)
    elif said == EATS_MEMORY:
        kept = [bytearray(1 << 20) for _ in range(1 << 20)]
        del kept
    elif said == CRASHES:
        os.kill(os.getpid(), signal.SIGSEGV)
    elif said == IS_KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    elif said.startswith(DIES_ONCE):
        _die_once(said.removeprefix(DIES_ONCE))
    return attempt(work)


def _die_once(marker: str) -> None:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
