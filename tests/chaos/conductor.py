"""The conductor: lets the publishers go on as far as the next step, and does to the processes what the schedule says."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from chaos.brokers import Cluster
from chaos.consume import WIDE
from chaos.errands import Errands
from chaos.fleet import Fleet, Process
from chaos.journal import Diary, Following
from chaos.schedule import PAUSES, Options, Step
from chaos.workload import Workload
from crewmem_consumers.steps import DECIDED
from support.s3 import S3Server

AHEAD = 0.01
"""How far the publishers may run ahead of the next step, as a share of all events."""


class Conductor:
    """`reached` is how far each publisher is, `done` what was done of the schedule, `at` the step that it is at."""

    def __init__(
        self, options: Options, *, folder: Path, fleet: Fleet, cluster: Cluster, s3: S3Server | None, errands: Errands,
        workloads: list[Workload], diary: Diary,
    ) -> None:  # fmt: skip
        self._options = options
        self._folder = folder
        self._fleet, self._cluster, self._s3, self._errands = fleet, cluster, s3, errands
        self._workloads = workloads
        self._diary = diary
        self._tasks: list[asyncio.Task[Any]] = []
        self._recovering: dict[str, asyncio.Task[None]] = {}
        self.reached: dict[int, int] = {workload.publisher: 0 for workload in workloads}
        self._journals = {number: Following(folder / f"journal-{number}") for number in self.reached}
        self.kills: Counter[str] = Counter()
        self.relays_killed = 0
        self.done: Counter[str] = Counter()
        self.at = "before the first step"
        self.allow(0)

    async def play(self, steps: list[Step]) -> None:
        """Every step in order, then every event published; raises what an errand met."""
        try:
            for number, step in enumerate(steps, start=1):
                self.at = f"step {number} of {len(steps)}: {step}"
                await self._published(step.at)
                await self._do(step)
                self._diary.say(str(step))
            self.at = "after the last step"
            await self._published(self._options.events)
            await asyncio.gather(*self._tasks, *self._recovering.values())
        finally:
            for task in (*self._tasks, *self._recovering.values()):
                task.cancel()

    def allow(self, total: int) -> None:
        """The publishers may publish so many events together."""
        share = min(total, self._options.events) // len(self._workloads)
        for workload in self._workloads:
            path = self._folder / f"allowance-{workload.publisher}"
            path.with_suffix(".new").write_text(str(share))
            path.with_suffix(".new").replace(path)

    def look(self) -> int:
        """How many events were acknowledged so far."""
        said = {number: following.look() for number, following in self._journals.items()}
        self.reached.update({number: one.next for number, one in said.items()})
        return sum(len(one.acknowledged) for one in said.values())

    async def _published(self, count: int) -> None:
        whole = len(self._workloads) * (self._options.events // len(self._workloads))
        wanted = min(count, whole)
        self.allow(wanted + int(self._options.events * AHEAD) + len(self._workloads))
        if count >= self._options.events:
            self.allow(self._options.events)
        while self.look() < wanted:
            await asyncio.sleep(0.2)

    async def _do(self, step: Step) -> None:
        self.done[step.action] += 1
        match step.action:
            case "kill" | "stop" if step.target.startswith("broker"):
                await self._end_broker(step)
            case "kill" if step.target == "s3":
                await self._end_s3(step)
            case "kill":
                await self._kill(self._fleet.processes[step.target], step.chance)
            case "pause":
                await self._pause(self._fleet.processes[step.target], step.chance)
            case _:
                self._tasks.append(asyncio.create_task(self._errands.run(step)))

    async def _kill(self, process: Process, chance: float) -> None:
        """While it works, or (one in five) in whatever state it is; where writes stand still at their borders, there."""
        await process.is_free()
        if chance > 0.2:
            await process.is_at_work()
            await asyncio.sleep(chance / 2)
        if self._options.widen and process.kind == "consumer":
            await process.stands_still(WIDE, widen=self._options.widen)
        if process.holds_a_lock:
            self.relays_killed += 1
        await self._fleet.replace(process)
        self.kills[process.kind] += 1

    async def _pause(self, process: Process, chance: float) -> None:
        await process.is_free()
        await process.is_at_work()
        kind = "static member" if process.spec["settings"].get("group_instance_id") else process.kind
        if self._options.widen and process.kind == "consumer":
            await process.stands_still((DECIDED,), widen=self._options.widen)
        low, high = PAUSES[kind]
        process.busy = True
        process.signal(signal.SIGSTOP)

        async def wake() -> None:
            await asyncio.sleep(low + (high - low) * chance)
            process.signal(signal.SIGCONT)
            process.busy = False

        self._tasks.append(asyncio.create_task(wake()))

    async def _end_broker(self, step: Step) -> None:
        """At most one is down at a time: the one before is back and in sync."""
        for task in self._recovering.values():
            await task
        broker = self._cluster.brokers[step.target]
        await asyncio.to_thread(broker.kill if step.action == "kill" else broker.stop)
        if step.action == "kill":
            self.kills["broker"] += 1

        async def recover() -> None:
            await asyncio.sleep(0.5 + 3 * step.chance)
            await asyncio.to_thread(broker.start)
            await self._cluster.in_sync()

        self._recovering = {step.target: asyncio.create_task(recover())}

    async def _end_s3(self, step: Step) -> None:
        assert self._s3 is not None
        self._s3.kill()
        self.kills["s3"] += 1
        await asyncio.sleep(0.2 + 2 * step.chance)
        await asyncio.to_thread(self._s3.start)
