"""The conductor: lets the publishers go on as far as the next step, and does to the processes what the schedule says."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from chaos import journal
from chaos.brokers import Cluster
from chaos.fleet import Fleet, Process
from chaos.schedule import PAUSES, Options, Step
from chaos.traffic import Traffic, Unknown
from chaos.workload import SESSIONS, TENANTS, TIDES, Workload, session_name
from crewmem_consumers.replay import Replayed, replay
from crewmem_producers.codec import encode
from crewmem_producers.errors import Unavailable
from crewmem_producers.events import Event, RulesApplied, SessionForgotten
from crewmem_producers.freshness import Mark
from crewmem_producers.log import EventLog, Record
from crewmem_producers.names import Scope
from crewmem_producers.settings import ConsumerSettings
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import GenerationBehind
from support.s3 import S3Server

AHEAD = 0.01
"""How far the publishers may run ahead of the next step, as a share of all events."""
PATIENCE_SECONDS = 300.0
UNKNOWN_SECONDS = 20.0
MALFORMED = (
    Record(None, None, partition=0),
    Record(b"acme/x", b"no event", ()),
    Record(b"\xff\xfe", b"\x00" * 2000, (("ce_id", b"\xff\xfe"),)),
    Record(b"acme/x", b"{}", (("ce_type", b"crewmem.unknown"), ("ce_id", b"1"), ("ce_time", b"2026-01-01T00:00:00Z"))),
)


def tide_rules(tide: int) -> str:
    """The default rules, and one in front of them that drops the outputs of a tide."""
    from crewmem_consumers.rules import DEFAULT_RULES

    head, _, rest = DEFAULT_RULES.partition("rules:\n")
    drop = f"  - name: tide\n    when: type != 'remembered' && mentions(text, ['tide{tide}'])\n    action: drop\n"
    return f"{head}rules:\n{drop}{rest}"


class Conductor:
    """`played` says what was done, and when."""

    def __init__(
        self, options: Options, *, folder: Path, fleet: Fleet, cluster: Cluster, s3: S3Server | None, traffic: Traffic,
        workloads: list[Workload], log: EventLog, settings: ConsumerSettings,
    ) -> None:  # fmt: skip
        self._options = options
        self._folder = folder
        self._fleet, self._cluster, self._s3, self._traffic = fleet, cluster, s3, traffic
        self._workloads = workloads
        self._log = log
        self._settings = settings
        self._began = time.monotonic()
        self._tasks: list[asyncio.Task[Any]] = []
        self._recovering: dict[str, asyncio.Task[None]] = {}
        self.reached: dict[int, int] = {workload.publisher: 0 for workload in workloads}
        self.kills: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.replayed: Replayed | None = None
        self.allow(0)

    async def play(self, steps: list[Step]) -> None:
        """Every step in order, then every event published; raises what an errand met."""
        for step in steps:
            await self._published(step.at)
            await self._do(step)
            self._say(str(step))
        await self._published(self._options.events)
        for task in self._tasks:
            await task
        for task in self._recovering.values():
            await task

    def allow(self, total: int) -> None:
        """The publishers may publish so many events together."""
        share = min(total, self._options.events) // len(self._workloads)
        for workload in self._workloads:
            path = self._folder / f"allowance-{workload.publisher}"
            path.with_suffix(".new").write_text(str(share))
            path.with_suffix(".new").replace(path)

    def look(self) -> int:
        """How many events were acknowledged so far."""
        total = 0
        for number in self.reached:
            said = journal.read(self._folder / f"journal-{number}")
            self.reached[number] = said.next
            total += len(said.acknowledged)
        return total

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
                errands: dict[str, Callable[[Step], Awaitable[None]]] = {
                    "forget": self._forget, "forget-session": self._forget_session, "rules": self._rules,
                    "malformed": self._malformed, "replay": self._replay,
                }  # fmt: skip
                self._tasks.append(asyncio.create_task(self._errand(errands[step.action], step)))

    async def _kill(self, process: Process, chance: float) -> None:
        """While it works, or (one in five) in whatever state it is."""
        await self._free(process)
        if chance > 0.2:
            await process.is_at_work()
            await asyncio.sleep(chance / 2)
        process.busy = True
        process.kill()
        self.kills[process.name.partition("-")[0]] += 1
        process.start()
        process.busy = False

    async def _pause(self, process: Process, chance: float) -> None:
        await self._free(process)
        await process.is_at_work()
        kind = "static member" if process.spec["settings"].get("group_instance_id") else process.name.partition("-")[0]
        low, high = PAUSES[kind]
        process.busy = True
        process.signal(signal.SIGSTOP)

        async def wake() -> None:
            await asyncio.sleep(low + (high - low) * chance)
            process.signal(signal.SIGCONT)
            process.busy = False

        self._tasks.append(asyncio.create_task(wake()))

    async def _free(self, process: Process) -> None:
        while process.busy:
            await asyncio.sleep(0.1)

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

    async def _errand(self, work: Callable[[Step], Awaitable[None]], step: Step) -> None:
        """What needs the log or a service is tried until they are there, and a replay until it is where the old one is."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await work(step)
            except (Unavailable, GenerationBehind) as error:
                if time.monotonic() > deadline:
                    raise
                self._say(f"{step.action} is tried again: {error}")
                await asyncio.sleep(0.5)

    async def _forget(self, step: Step) -> None:
        """A fact that was acknowledged, by its event's id."""
        workload = self._workloads[int(step.chance * 1000) % len(self._workloads)]
        facts = sorted(filter(workload.is_fact, journal.read(self._folder / f"journal-{workload.publisher}").acknowledged))
        if not facts:
            return
        event = workload.event(facts[int(step.chance * len(facts))])
        async with httpx.AsyncClient(timeout=40) as client:
            assert event.scope is not None
            token = await self._forgotten(client, event.id, workload.tenant)
            if token is None:
                return
            if token:
                await self._in_view(client, event.scope, token)
        self._traffic.forgotten[event.id] = time.monotonic()

    async def _forgotten(self, client: httpx.AsyncClient, event_id: str, tenant: str) -> str | None:
        """A token or "" once the log has it; None for what it never comes to: what is forgotten already is unknown, and so is,
        for a while, what waits in an outbox."""
        deadline = time.monotonic() + UNKNOWN_SECONDS
        while True:
            try:
                token = await self._traffic.forget(client, self._url(), event_id, tenant)
            except Unknown:
                token = None
                if time.monotonic() > deadline:
                    self._say(f"forget: {event_id} stays unknown")
                    return None
            if token is not None:
                return token
            await asyncio.sleep(0.5)

    async def _forget_session(self, step: Step) -> None:
        """As `crewmem forget --session` does."""
        dice = int(step.chance * 10_000)
        scope = Scope.of(TENANTS[dice % len(TENANTS)], session_name(dice // 2 % SESSIONS))
        self._traffic.forgetting.add((scope.tenant, scope.session))
        event = Event(body=SessionForgotten(), scope=scope, source="chaos")
        [position] = await self._log.append([encode(event)])
        async with httpx.AsyncClient(timeout=40) as client:
            await self._in_view(client, scope, str(Mark(position.partition, position.offset)))
        self._traffic.erased[scope.tenant, scope.session] = (time.monotonic(), event.time)

    async def _in_view(self, client: httpx.AsyncClient, scope: Scope, token: str) -> None:
        while True:
            answer = await self._traffic.after(client, self._url(), "gauge", scope, token)
            if answer is not None and answer["fresh"]:
                return
            await asyncio.sleep(0.2)

    async def _rules(self, step: Step) -> None:
        import hashlib

        text = tide_rules(int(step.chance * TIDES))
        body = RulesApplied(rules=text, sha256=hashlib.sha256(text.encode()).hexdigest())
        partitions = range(self._log.partitions)
        await self._log.append([encode(Event(body=body, scope=None, source="chaos"), partition=p) for p in partitions])

    async def _malformed(self, step: Step) -> None:
        del step
        await self._log.append(MALFORMED)

    async def _replay(self, step: Step) -> None:
        """A new generation while all of this goes on; it goes on where it was when it is interrupted."""
        del step
        self.replayed = await replay(self._settings, embedder=HashingEmbedder())
        self._say(f"replayed: {self.replayed}")

    def _url(self) -> str:
        return self._traffic.urls[self.done.total() % len(self._traffic.urls)]

    def _say(self, what: str) -> None:
        with (self._folder / "conductor.log").open("a") as out:
            out.write(f"{time.monotonic() - self._began:8.1f} {what}\n")
