"""Every process of a run but brokers and the S3 server: started, killed, paused, brought back when one ends by itself."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.program import UNAVAILABLE, border, up
from processes.harness import environment

HERE = Path(__file__).parent
STOP_SECONDS = 300.0
READY_SECONDS = 45.0


@dataclass
class Process:
    """One place in the fleet: a program and what it is told; `starts` counts the processes that have taken it."""

    name: str
    program: str
    spec: dict[str, Any]
    folder: Path
    busy: bool = False
    """Killed, paused or being brought back: the schedule waits with its next step for it."""
    starts: int = 0
    running: subprocess.Popen[bytes] | None = None

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    @property
    def holds_a_lock(self) -> bool:
        """Whether it relays its outbox for others too, as far as the system tells."""
        locks, pid = Path("/proc/locks"), self.running.pid if self.running else None
        return locks.exists() and any(line.split()[1:5:3] == ["FLOCK", str(pid)] for line in locks.read_text().splitlines())

    @property
    def ready_file(self) -> Path:
        return self.folder / f"{self.name}.{self.starts}.ready"

    @property
    def logs(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.name}.*.log"))

    def start(self) -> None:
        self.starts += 1
        spec = self.spec | {"ready": str(self.ready_file)}
        with (self.folder / f"{self.name}.{self.starts:03d}.log").open("wb") as out:
            self.running = subprocess.Popen(
                [sys.executable, HERE / self.program, json.dumps(spec)], stdout=out, stderr=out, env=environment()
            )

    def kill(self) -> None:
        """kill -9; a stopped one dies too."""
        if self.running is not None:
            self.running.kill()
            self.running.wait(30)
            self.running = None

    def signal(self, number: signal.Signals) -> None:
        if self.running is not None:
            self.running.send_signal(number)

    async def is_free(self) -> None:
        """Returns when nothing else is being done to it."""
        while self.busy:
            await asyncio.sleep(0.1)

    async def is_at_work(self) -> None:
        """Returns when the process has done something since its start, or has had long enough for it."""
        deadline = time.monotonic() + READY_SECONDS
        while not self.ready_file.exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)

    async def stands_still(self, steps: Sequence[str], *, widen: float) -> None:
        """Returns when the process has just begun to stand still at one of these steps, or has had long enough for it."""
        borders = [border(self.ready_file, step) for step in steps]
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if any(path.exists() and time.time() - path.stat().st_mtime < widen / 2 for path in borders):
                return
            await asyncio.sleep(widen / 10)

    async def end(self) -> int:
        """SIGTERM, once it can take one; its exit status."""
        assert self.running is not None
        deadline = time.monotonic() + STOP_SECONDS
        while not up(self.ready_file).exists() and self.running.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        self.running.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self.running.wait, STOP_SECONDS)
        self.running = None
        return status


@dataclass
class Fleet:
    """`died` gets a line for each process that ended by itself; one that only found its surroundings away is not in it."""

    folder: Path
    processes: dict[str, Process] = field(default_factory=dict)
    died: list[str] = field(default_factory=list)
    waited: int = 0
    """How often a process found its surroundings away at its start, and was started again."""

    def add(self, name: str, program: str, spec: dict[str, Any]) -> None:
        self.processes[name] = Process(name, program, spec, self.folder)

    def of(self, kind: str) -> list[Process]:
        return [process for process in self.processes.values() if process.kind == kind]

    def start(self) -> None:
        for process in self.processes.values():
            process.start()

    async def replace(self, process: Process) -> None:
        """kill -9, and another one in its place."""
        await process.is_free()
        process.busy = True
        process.kill()
        process.start()
        process.busy = False

    def look(self) -> None:
        """Starts again what ended by itself, as a supervisor would."""
        for process in self.processes.values():
            if process.busy or process.running is None or (status := process.running.poll()) is None:
                continue
            if status == UNAVAILABLE:
                self.waited += 1
            else:
                self.died.append(f"{process.name} ended by itself with {status}, see {process.logs[-1]}")
            process.start()

    async def supervise(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.5)

    async def end(self, kind: str) -> None:
        """Tells all of a kind to end, and notes those that end badly."""
        processes = self.of(kind)
        for process in processes:
            await process.is_free()
            process.busy = True
        for process, status in zip(processes, await asyncio.gather(*(one.end() for one in processes)), strict=True):
            if status != 0:
                self.died.append(f"{process.name} ended with {status} when it was told to stop, see {process.logs[-1]}")

    def kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()
