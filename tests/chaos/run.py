"""One chaos run: everything started, the schedule played, everything quiet, everything checked."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from chaos import check, findings, journal, traffic
from chaos.abuse import Abuser
from chaos.conductor import Conductor
from chaos.consume import LOOK_SECONDS, STRAY_SECONDS
from chaos.errands import KNOWS, Errands, newer_letters
from chaos.expected import Expected
from chaos.files import check_files, contents, erased_tags
from chaos.findings import Findings
from chaos.journal import Diary
from chaos.rest import LastPass
from chaos.schedule import ACTIONS, Options, Step, schedule
from chaos.stage import KEYS, NARROW, Stage
from chaos.traffic import Traffic
from crewmem_producers import codec
from crewmem_producers.connect import open_keyring
from crewmem_producers.log import EventLog
from crewmem_producers.outbox import Outbox
from crewmem_producers.publisher import Publisher
from crewmem_producers.registry import Registry
from crewmem_producers.sealed_body import key_id
from crewmem_producers.settings import ConsumerSettings, CrewSettings
from crewmem_store import generations
from crewmem_store.letter_states import LetterState

FLUSH_SECONDS = 600.0
LATE_FILES_SECONDS = 2 * STRAY_SECONDS + LOOK_SECONDS


@dataclass
class Result:
    """What a run did and found. `at` is how far it came."""

    options: Options
    folder: Path
    findings: Findings = field(default_factory=Findings)
    counts: dict[str, object] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    at: str = "the start"
    ended: bool = False
    """Whether everything was done and checked."""

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began, self.at = time.monotonic(), what
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - began


class Run:
    """One run in a folder of its own. `result` says as much as is known, also of one that an error ended."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.result = Result(options, folder)
        self._options, self._folder = options, folder
        self._stage = Stage(options, folder)
        self._crews: dict[int, set[int]] = {crew.publisher: set() for crew in self._stage.crews}
        self._abuser = Abuser(self._stage.urls, dice=random.Random(f"abuse/{options.seed}"))
        self._traffic = Traffic(self._stage.urls, traffic.callers(KEYS, NARROW), self.result.findings)

    async def run(self) -> Result:
        """Everything; what is still running at the end is ended, whatever happened."""
        steps = schedule(self._options)
        (self._folder / "schedule.txt").write_text("".join(f"{step}\n" for step in steps))
        known, codec.SCHEMA_VERSION = codec.SCHEMA_VERSION, KNOWS  # whoever checks reads what the newest consumers read
        try:
            with self.result.timed("start"):
                await self._stage.start()
            async with self._stage.open() as (log, registry):
                errands = Errands(
                    self._options, folder=self._folder, fleet=self._stage.fleet, traffic=self._traffic, log=log,
                    workloads=self._stage.workloads, settings=self._stage.settings(), reader=self._stage.store().reader("g1"),
                    diary=Diary(self._folder / "conductor.log"),
                )  # fmt: skip
                await self._play(steps, errands)
                with self.result.timed("quiet"):
                    await self._become_quiet(log, registry)
                await self._check(log, registry, errands)
        finally:
            codec.SCHEMA_VERSION = known
            for died in self._stage.fleet.died:
                self.result.findings.add(findings.DIED, died)
            await self._stage.stop()
        return self.result

    async def _play(self, steps: list[Step], errands: Errands) -> None:
        conductor = Conductor(
            self._options, folder=self._folder, fleet=self._stage.fleet, cluster=self._stage.cluster, s3=self._stage.s3,
            errands=errands, workloads=self._stage.workloads, diary=errands.diary,
        )  # fmt: skip
        with self.result.timed("schedule"):
            try:
                await self._among_traffic(conductor, steps)
            finally:
                self.result.at = conductor.at
                self._take(conductor, errands)

    async def _among_traffic(self, conductor: Conductor, steps: list[Step]) -> None:
        """The schedule, while memories are recalled, crews hand over to each other, and one tenant attacks without a pause."""
        asked, dice = self._traffic, random.Random(f"traffic/{self._options.seed}")
        crews = {crew: Publisher(CrewSettings(**self._stage.crew_settings(crew))) for crew in self._stage.crews}
        tasks = [asyncio.create_task(self._stage.fleet.supervise())]
        tasks += [asyncio.create_task(asked.recalls(dice, self._stage.workloads, conductor.reached)) for _ in range(2)]
        handing_over = [
            asyncio.create_task(asked.crews(dice, crew, publisher, self._crews[crew.publisher]))
            for crew, publisher in crews.items()
        ]
        tasks += [*handing_over, asyncio.create_task(self._abuser.run())]
        playing = asyncio.create_task(conductor.play(steps))
        try:
            await asyncio.wait([playing, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # none of them ends now but by an error
            await playing
            asked.ending = True
            await asyncio.gather(*handing_over)
            asked.is_answered()
        finally:
            for task in (playing, *tasks):
                task.cancel()
            await asyncio.wait([playing, *tasks])
        for crew, publisher in crews.items():
            if not await publisher.aflush(FLUSH_SECONDS):
                self.result.findings.add(findings.LOST, f"the events of crew {crew.name} were not delivered")
            publisher.close()

    def _take(self, conductor: Conductor, errands: Errands) -> None:
        kills, counts = conductor.kills + errands.kills, self.result.counts
        counts["kill -9"] = kills.total()
        counts |= {f"kill -9: {kind}s": count for kind, count in sorted(kills.items())}
        counts["publishers that relayed for others when they were killed"] = conductor.relays_killed
        counts |= {ACTIONS[name]: count for name, count in sorted(conductor.done.items()) if name in ACTIONS}
        if errands.replayed is not None:
            counts["records replayed in the middle"] = errands.replayed.records
        counts |= dict(self._traffic.counts)
        counts["longest time without an answered recall, seconds"] = round(self._traffic.longest_gap_seconds, 1)
        counts |= dict(sorted(self._abuser.counts.items()))
        counts["started again, surroundings away"] = self._stage.fleet.waited

    async def _become_quiet(self, log: EventLog, registry: Registry) -> None:
        """Publishers end with their outboxes empty; then every generation has every position, and no letter waits."""
        looking = asyncio.create_task(self._stage.fleet.supervise())
        await self._stage.fleet.end("publisher")
        await registry.refresh()
        store, active, patience = self._stage.store(), generations.active(registry), self._options.patience

        def behind(ends: dict[int, int]) -> list[str]:
            return [
                f"{generation.name}/{partition}"
                for generation in generations.live(registry)
                for partition, end in ends.items()
                if store.reader(generation.name).last_offset(partition) < end - 1
            ] + ["letters"] * (LetterState.OPEN in newer_letters(store.reader(active.name), active.partitions))

        deadline = time.monotonic() + patience
        while (waited := await asyncio.to_thread(behind, await log.end())) and time.monotonic() < deadline:
            await asyncio.sleep(1)
        if waited:
            self.result.findings.add(findings.LOST, f"after {patience:.0f} s these are not at the log's end: {waited}")
        looking.cancel()
        for path in (self._folder / "outbox").glob("*.sqlite3"):
            status = Outbox(path, max_bytes=1 << 30).status()
            if status.depth or status.dead_letters:
                self.result.findings.add(findings.LOST, f"{path}: {status}")

    async def _check(self, log: EventLog, registry: Registry, errands: Errands) -> None:
        found, counts, timed = self.result.findings, self.result.counts, self.result.timed
        with timed("reading the log"):
            keyring = open_keyring(ConsumerSettings(**self._stage.settings()), registry)
            records = await check.whole_log(log)
            for logged in records.values():
                await keyring.prepare(logged)
            live = generations.live(registry)
            wanted = {one.name: await asyncio.to_thread(check.expected, records, one, keyring) for one in live}
        active = wanted[generations.active(registry).name]
        acknowledged = self._acknowledged() | errands.acknowledged
        counts["events acknowledged"] = len(acknowledged)
        self._count(records, active)
        readable = (content for event in check.events(records, keyring) for content in contents(event))
        erased = erased_tags(active, [*self._stage.workloads, *self._stage.crews], readable)
        with timed("waiting for owners to remove what was written late"):
            await self._wait_for_late_files(erased)
        await self._stage.fleet.end("consumer")
        check.check_arrival(acknowledged, active, found)
        check.check_unreadable(active, errands.erased, found)
        with timed("asking for everything over REST"):
            await self._ask(active)
        await self._stage.fleet.end("service")
        for generation in live:
            reader = self._stage.store().reader(generation.name)
            with timed("rows and ledgers"):
                await asyncio.to_thread(
                    check.check_generation, generation.name, reader, wanted[generation.name], partitions=generation.partitions,
                    findings=found,
                )  # fmt: skip
            with timed("accounts"):
                await check.check_account(log, reader, generation, keyring, found)
            with timed("clean replays"):
                said = await check.check_digest(records, reader, generation, keyring, found)
            counts[f"digest of {generation.name}"] = said
        with timed("raw files"):
            files, seen = await asyncio.to_thread(check_files, self._stage.files, erased, found)
        counts["texts erased"] = len(erased)
        counts["raw files searched for them"] = f"{files} (with {seen} other texts in them)"
        self.result.at, self.result.ended = "the end", True

    async def _ask(self, wanted: Expected) -> None:
        asking = LastPass(
            self._traffic, wanted, dice=random.Random(f"last/{self._options.seed}"), findings=self.result.findings
        )  # fmt: skip
        async with httpx.AsyncClient(timeout=60) as client:
            await asking.run(client)
        self.result.counts["memories listed at the end"] = asking.listed
        self.result.counts["memories recalled at the end"] = asking.recalled
        self.result.counts["questions in another session"] = asking.elsewhere

    def _count(self, records: check.Records, active: Expected) -> None:
        sealed = sum(key_id(record) is not None for logged in records.values() for record in logged)
        self.result.counts |= {
            "records on the log": sum(map(len, records.values())), "of them sealed": sealed,
            "of them erased": len(active.unreadable), "forgotten memories": len(active.forgotten),
        }  # fmt: skip

    async def _wait_for_late_files(self, erased: set[str]) -> None:
        """A consumer that was paused over an erase, or killed as it woke up, leaves files: owners remove them in this time."""
        deadline = time.monotonic() + LATE_FILES_SECONDS
        while time.monotonic() < deadline:
            found = Findings()
            await asyncio.to_thread(check_files, self._stage.files, erased, found)
            if not found.counts:
                return
            await asyncio.sleep(5)

    def _acknowledged(self) -> set[str]:
        found: set[str] = set()
        for workload in self._stage.workloads:
            numbers = journal.read(self._folder / f"journal-{workload.publisher}").acknowledged
            found |= {workload.event(number).id for number in numbers}
        for crew in self._stage.crews:
            found |= {crew.event(number).id for number in self._crews[crew.publisher]}
        return found
