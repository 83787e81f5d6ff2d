"""The part of the event log's conformance suite that needs real processes: several that append at once, and kill -9.

Subclass `LogProcessConformance` and give it a `settings` fixture: settings with which `connect.open_log` finds a log that
has one partition and nothing in it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from crewmem_producers.connect import open_log
from crewmem_producers.log import EventLog
from crewmem_producers.settings import KafkaSettings
from producers.conformance_log import read_all, record

APPENDER = """
import asyncio, sys
from crewmem_producers.connect import open_log
from crewmem_producers.log import Record
from crewmem_producers.settings import KafkaSettings, load

async def main(name, batches, size, acknowledge_first):
    log = open_log(load(KafkaSettings))
    await log.start()
    for batch in range(int(batches)):
        bodies = [f"{name} {batch * int(size) + n}".encode() for n in range(int(size))]
        if acknowledge_first == "yes":  # what a log without a guard would do
            print(*(body.decode() for body in bodies), sep="\\n", flush=True)
            await asyncio.sleep(0.05)
        await log.append([Record(name.encode(), body, partition=0) for body in bodies])
        if acknowledge_first == "no":
            print(*(body.decode() for body in bodies), sep="\\n", flush=True)
    await log.close()

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def appender(
    settings: KafkaSettings, name: str, *, batches: int, size: int, acknowledge_first: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that appends batches of `<name> <n>` and prints each body once the log has acknowledged it."""
    environment = {
        **os.environ, "CREWMEM_HOME": str(settings.home), "CREWMEM_NAMESPACE": settings.namespace,
        "CREWMEM_KAFKA_BOOTSTRAP": settings.kafka_bootstrap or "",
    }  # fmt: skip
    command = [sys.executable, "-c", APPENDER, name, str(batches), str(size), "yes" if acknowledge_first else "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process: subprocess.Popen[str], *, after: int) -> list[str]:
    """kill -9 once it has printed that many lines; every line it had printed by then."""
    assert process.stdout is not None
    lines = list(itertools.islice(process.stdout, after))
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.wait(30)
    return [line.rstrip("\n") for line in lines if line.endswith("\n")]


async def bodies(log: EventLog) -> list[str]:
    return [(one.value or b"").decode() for one in await read_all(log, 0)]


class LogProcessConformance:
    @pytest.fixture
    async def log(self, settings: KafkaSettings) -> AsyncIterator[EventLog]:
        log = open_log(settings)
        await log.start()
        yield log
        await log.close()

    async def test_processes_that_append_at_once_share_one_row_of_offsets(self, settings: KafkaSettings, log: EventLog) -> None:
        def run(name: str) -> list[str]:
            with appender(settings, name, batches=40, size=5) as process:
                output, _ = process.communicate(timeout=150)
            assert process.returncode == 0
            return output.splitlines()

        acknowledged = await asyncio.gather(*(asyncio.to_thread(run, name) for name in "abc"))
        written = await bodies(log)
        assert len(written) == 600
        for name, printed in zip("abc", acknowledged, strict=True):
            assert [body for body in written if body.startswith(name)] == printed == [f"{name} {n}" for n in range(200)]

    @pytest.mark.parametrize("after", [1, 60, 150])
    async def test_kill_9_of_an_appending_process_loses_nothing_that_was_acknowledged(
        self, settings: KafkaSettings, log: EventLog, after: int
    ) -> None:
        with appender(settings, "a", batches=100_000, size=3) as process:
            acknowledged = await asyncio.to_thread(killed, process, after=after)
        written = await bodies(log)
        assert len(acknowledged) >= after
        assert written[: len(acknowledged)] == acknowledged
        assert written == [f"a {n}" for n in range(len(written))]  # nothing twice, nothing out of order
        assert (await log.append([record(0)]))[0].offset == len(written)

    async def test_the_same_kill_catches_a_log_that_acknowledges_before_it_has_written(
        self, settings: KafkaSettings, log: EventLog
    ) -> None:
        with appender(settings, "a", batches=100_000, size=3, acknowledge_first=True) as process:
            acknowledged = await asyncio.to_thread(killed, process, after=30)
        assert not set(acknowledged) <= set(await bodies(log))
