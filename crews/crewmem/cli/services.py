"""`crewmem serve` and `crewmem consume`: one part of the fleet a process."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Any

from crewmem_producers.display import visible, visible_line
from crewmem_producers.kafka_noise import QuietRetries
from crewmem_producers.settings import ConsumerSettings, ServiceSettings, load

from crewmem.cli.console import note, say
from crewmem.cli.garbage import look_for_cycles_rarely

OURS = ("crewmem", "crewmem_consumers", "crewmem_producers", "crewmem_store")


class OneLine(logging.Formatter):
    """A log line is one line whatever the names in it hold; the lines of a traceback are indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"    {visible(line)}" for line in super().formatException(ei).split("\n"))


def serve() -> None:
    """Run the recall service until SIGTERM or ctrl-C. `crewmem config show` prints its settings."""
    log_to_stderr(logging.INFO)
    settings = load(ServiceSettings)
    from crewmem_store.service.serve import serve as serve_until

    async def until_signal() -> None:
        stop = stop_at_signal()
        await serve_until(settings, stop=stop, ready=lambda url: say(f"ready {url}"))

    asyncio.run(until_signal())
    note("stopped")


def consume() -> None:
    """Run a consumer, which turns the log's events into memories, until SIGTERM or ctrl-C."""
    log_to_stderr(logging.INFO)
    look_for_cycles_rarely()
    settings = load(ConsumerSettings)
    from crewmem_consumers.consumer import run

    async def until_signal() -> None:
        await run(settings, stop=stop_at_signal())

    asyncio.run(until_signal())
    note("stopped")


def log_to_stderr(level: int) -> None:
    """Log lines with their time on stderr: ours from `level` on, those of libraries from WARNING on.

    Of a broker that is away ours say so once; aiokafka's lines at every try are left out. Where handlers are there already
    they stay as they are.
    """
    handler = logging.StreamHandler()
    handler.addFilter(QuietRetries())
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in OURS:
        logging.getLogger(name).setLevel(level)


def stop_at_signal() -> asyncio.Event:
    """An event of the running loop that SIGTERM or ctrl-C sets."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop
