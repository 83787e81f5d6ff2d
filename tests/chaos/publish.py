"""A publisher process: `publish.py SPEC`, with SPEC in JSON. It goes on where its journal says the last one died.

`allowance` is a file with the number of events that may be published so far: the conductor raises it as the schedule goes on.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from chaos import journal, program
from chaos.journal import Journal
from chaos.workload import Workload
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings

MOST = 16
"""Events of one `publish()`, at most."""
FLUSH_SECONDS = 280.0


def main(spec: dict[str, Any]) -> None:
    workload = Workload(spec["seed"], spec["publisher"])
    path = Path(spec["journal"])
    publisher = Publisher(CrewSettings(**spec["settings"]))
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    ready = Path(spec["ready"])
    program.up(ready).touch()
    said, book = journal.read(path), Journal(path)

    def publish(run: range) -> None:
        publisher.publish(*(workload.event(number) for number in run))
        book.acknowledged(run)
        ready.touch()

    for run in said.open:  # perhaps it is in the outbox, perhaps not: the event's id tells
        publish(run)
    number = said.next
    while not stopping:
        allowed = int(Path(spec["allowance"]).read_text() or 0)
        if number >= allowed:
            time.sleep(0.05)
            continue
        run = range(number, min(allowed, number + random.randint(1, MOST)))
        book.intended(run)
        publish(run)
        number = run.stop
        time.sleep(len(run) / spec["rate"])
    flushed = publisher.flush(FLUSH_SECONDS)
    publisher.close()
    sys.exit(0 if flushed else 1)


if __name__ == "__main__":
    main(program.logged())
