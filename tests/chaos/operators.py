"""An operator: runs commands beside everything else, is killed at it, and runs them again."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.findings import DIED, Findings
from chaos.journal import Diary
from processes.harness import environment

AWAY_SECONDS = 600.0
"""How long what is away (a broker, a service) may be so."""
CREWMEM = (sys.executable, "-c", "from crewmem.cli import main; main()")


class Operator:
    """What each command printed and complained of lies in the folder. `kills` counts how often it was killed."""

    def __init__(self, folder: Path, *, findings: Findings, diary: Diary) -> None:
        self._folder, self._findings, self._diary = folder, findings, diary
        self._commands = 0
        self.kills = 0

    async def runs(
        self, name: str, command: Sequence[str], told: Mapping[str, str], *, kill_after: float | None = None, dies: bool = False
    ) -> str | None:  # fmt: skip
        """What the command printed, None when it did not end well; tried again while what it needs is away. `told` is added to
        its environment. With `kill_after` it is killed, with `dies` it kills itself, and nothing is printed."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            status, out = await self._once(name, command, told, seconds=kill_after)
            if status == -signal.SIGKILL:
                self.kills += 1
            if status == 0 or kill_after is not None or (dies and status == -signal.SIGKILL):
                return out.read_text()
            if time.monotonic() > deadline:
                self._findings.add(DIED, f"{name} ended with {status}, see {out.with_suffix('.log')}")
                return None
            self._diary.say(f"{name} ended with {status}: again")
            await asyncio.sleep(1)

    async def _once(
        self, name: str, command: Sequence[str], told: Mapping[str, str], *, seconds: float | None
    ) -> tuple[int, Path]:  # fmt: skip
        """Its exit status, and the file with what it printed; -9 when it took longer than `seconds`."""
        self._commands += 1
        out = self._folder / f"{name}.{self._commands:03d}.out"
        with out.open("wb") as said, out.with_suffix(".log").open("wb") as complained:
            process = await asyncio.create_subprocess_exec(*command, stdout=said, stderr=complained, env=environment() | told)
        try:
            return await asyncio.wait_for(process.wait(), seconds), out
        except TimeoutError:
            return -signal.SIGKILL, out
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
