"""Errands: what the schedule has done that is no kill: forgets, erasures, rules, letters and their redrive, the replay. Each
runs beside the rest of the schedule, and again until what it needs is there."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from chaos import journal
from chaos.findings import LOST
from chaos.fleet import Fleet
from chaos.journal import Diary
from chaos.operators import AWAY_SECONDS, CREWMEM, Operator
from chaos.schedule import Options, Step
from chaos.traffic import Traffic, Unknown
from chaos.workload import SESSIONS, TENANTS, TIDES, Workload, content_of, session_name
from crewmem_consumers.newer_schemas import NEWER_SCHEMA
from crewmem_consumers.replay import Replayed, replay
from crewmem_consumers.rules import DEFAULT_RULES
from crewmem_producers.codec import encode
from crewmem_producers.errors import Unavailable
from crewmem_producers.events import SCHEMA_VERSION, Event, MemoryRemembered, RulesApplied, SessionForgotten, utc_now
from crewmem_producers.freshness import Mark, parse_token
from crewmem_producers.log import EventLog, Position, Record
from crewmem_producers.log_reading import record_at
from crewmem_producers.names import Scope
from crewmem_producers.settings import ConsumerSettings
from crewmem_store import letter_states
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.errors import GenerationBehind
from crewmem_store.letter_states import LetterState
from crewmem_store.store import StoreReader

UNKNOWN_SECONDS = 20.0
KNOWS = SCHEMA_VERSION + 1
"""The newest body version that the newer consumers read."""
REDRIVE = Path(__file__).parents[1] / "processes" / "redrive.py"
MALFORMED = (
    Record(None, None, partition=0),
    Record(b"acme/x", b"no event", ()),
    Record(b"\xff\xfe", b"\x00" * 2000, (("ce_id", b"\xff\xfe"),)),
    Record(b"acme/x", b"{}", (("ce_type", b"crewmem.unknown"), ("ce_id", b"1"), ("ce_time", b"2026-01-01T00:00:00Z"))),
)


def tide_rules(tide: int) -> str:
    """The default rules, and one in front of them that drops the outputs of a tide."""
    head, _, rest = DEFAULT_RULES.partition("rules:\n")
    drop = f"  - name: tide\n    when: type != 'remembered' && mentions(text, ['tide{tide}'])\n    action: drop\n"
    return f"{head}rules:\n{drop}{rest}"


def newer_letters(reader: StoreReader, partitions: int) -> set[LetterState]:
    """What became of the letters that only a newer consumer reads: every state that one of them has."""
    found: set[LetterState] = set()
    for partition in range(partitions):
        rows = list(reader.letters(partition))
        states = letter_states.of_ledger(rows, partition=partition)
        found |= {states[row.offset] for row in rows if row.reason == NEWER_SCHEMA and row.offset in states}
    return found


class Errands:
    """What they found out: `acknowledged` ids of events, sessions that were `erased` (record key -> when that was finished, or
    None), `replayed`."""

    def __init__(
        self, options: Options, *, folder: Path, fleet: Fleet, traffic: Traffic, workloads: Sequence[Workload], log: EventLog,
        settings: dict[str, Any], reader: StoreReader, diary: Diary,
    ) -> None:  # fmt: skip
        self._options, self._folder, self._fleet, self._traffic = options, folder, fleet, traffic
        self._workloads, self._log, self._settings, self._reader, self.diary = workloads, log, settings, reader, diary
        self._upgraded = asyncio.Event()
        self._operator = Operator(folder, findings=traffic.findings, diary=diary)
        self._asked = 0
        self._errands: dict[str, Callable[[Step], Awaitable[None]]] = {
            "forget": self._forget, "forget-session": self._forget_session, "erase": self._erase, "rules": self._rules,
            "malformed": self._malformed, "newer": self._newer, "upgrade": self._upgrade, "redrive": self._redrive,
            "replay": self._replay,
        }  # fmt: skip
        self.acknowledged: set[str] = set()
        self.erased: dict[str, datetime | None] = {}
        self.replayed: Replayed | None = None
        self._upgrades = 0

    @property
    def kills(self) -> Counter[str]:
        """What was killed of them, by kind."""
        return Counter(consumer=self._upgrades, operator=self._operator.kills)

    async def run(self, step: Step) -> None:
        """What needs the log or a service is tried until they are there, and a replay until it is where the old one is."""
        deadline = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return await self._errands[step.action](step)
            except (Unavailable, GenerationBehind) as error:
                if time.monotonic() > deadline:
                    raise
                self.diary.say(f"{step.action} is tried again: {error}")
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
                    self.diary.say(f"forget: {event_id} stays unknown")
                    return None
            if token is not None:
                return token
            await asyncio.sleep(0.5)

    async def _forget_session(self, step: Step) -> None:
        """As `crewmem forget --session` does."""
        scope = self._session(step)
        self._traffic.forgetting.add((scope.tenant, scope.session))
        event = Event(body=SessionForgotten(), scope=None, record_key=scope.key, source="chaos")
        [position] = await self._log.append([encode(event)])
        async with httpx.AsyncClient(timeout=40) as client:
            await self._in_view(client, scope, str(Mark(position.partition, position.offset)))
        self._traffic.erased[scope.tenant, scope.session] = (time.monotonic(), event.time)

    async def _erase(self, step: Step) -> None:
        """`crewmem forget --session --erase` while it is published to: killed at some moment, and again until it is done."""
        scope = self._session(step)
        self._traffic.forgetting.add((scope.tenant, scope.session))
        self.erased.setdefault(scope.key, None)
        settings = {**self._settings, "tenant": scope.tenant, "outbox_dir": self._folder / "outbox"}
        told = {f"CREWMEM_{name.upper()}": str(value) for name, value in settings.items()}
        command = [
            *CREWMEM,
            "forget",
            "--session",
            scope.session,
            "--erase",
            "--yes",
            "--json",
            "--wait",
            str(4 * self._options.patience),
        ]
        await self._operator.runs("erase", command, told, kill_after=1 + 6 * step.chance)
        said = await self._operator.runs("erase", command, told)
        if said is None:
            return
        [mark] = parse_token(json.loads(said)["token"])
        assert mark.offset is not None
        record = await record_at(self._log, Position(mark.partition, mark.offset))
        assert record is not None
        until = datetime.fromisoformat(record.header("ce_time") or "")
        self.erased[scope.key] = utc_now()
        self._traffic.erased[scope.tenant, scope.session] = (time.monotonic(), until)

    async def _rules(self, step: Step) -> None:
        text = tide_rules(int(step.chance * TIDES))
        body = RulesApplied(rules=text, sha256=hashlib.sha256(text.encode()).hexdigest())
        partitions = range(self._log.partitions)
        await self._log.append([encode(Event(body=body, scope=None, source="chaos"), partition=p) for p in partitions])

    async def _malformed(self, step: Step) -> None:
        del step
        await self._log.append(MALFORMED)

    async def _newer(self, step: Step) -> None:
        """A fact that a newer crewmem wrote: a dead letter until the consumers are newer ones too."""
        scope = self._session(step)
        body = MemoryRemembered(content=content_of(f"p99n{step.at}", scope), schema_version=KNOWS)
        event = Event(body=body, scope=scope, id=f"chaos-{self._options.seed}-newer-{step.at}", source="chaos")
        await self._log.append([encode(event)])
        self.acknowledged.add(event.id)

    async def _upgrade(self, step: Step) -> None:
        """Each consumer in turn is killed and comes back as a newer one; then the letters of newer events come back."""
        del step
        await self._letters("older consumers have made no letters of newer events", lambda states: bool(states))
        for process in self._fleet.of("consumer"):
            process.spec["knows"] = KNOWS
            await self._fleet.replace(process)
            self._upgrades += 1
        await self._letters("newer consumers have not redriven every letter", lambda states: LetterState.OPEN not in states)
        self._upgraded.set()

    async def _letters(self, fault: str, hold: Callable[[set[LetterState]], bool]) -> None:
        """Waits until it holds for the states of all letters of newer events."""
        deadline = time.monotonic() + self._options.patience
        while not hold(await asyncio.to_thread(newer_letters, self._reader, self._options.partitions)):
            if time.monotonic() > deadline:
                self._traffic.findings.add(LOST, f"after {self._options.patience:.0f} s {fault}")
                return
            await asyncio.sleep(1)

    async def _redrive(self, step: Step) -> None:
        """Every dead letter by an operator, who is killed between the copies and the events that say so, and does it again."""
        del step
        for die in (True, False):
            spec = json.dumps({"settings": self._settings, "die": die})
            await self._operator.runs("redrive", [sys.executable, str(REDRIVE), spec], {}, dies=die)

    async def _replay(self, step: Step) -> None:
        """A new generation while all of this goes on; it goes on where it was when it is interrupted."""
        del step
        await self._upgraded.wait()
        self.replayed = await replay(ConsumerSettings(**self._settings), embedder=HashingEmbedder())
        self.diary.say(f"replayed: {self.replayed}")

    def _session(self, step: Step) -> Scope:
        dice = int(step.chance * 10_000)
        return Scope.of(TENANTS[dice % len(TENANTS)], session_name(dice // 2 % SESSIONS))

    def _url(self) -> str:
        self._asked += 1
        return self._traffic.urls[self._asked % len(self._traffic.urls)]

    async def _in_view(self, client: httpx.AsyncClient, scope: Scope, token: str) -> None:
        while True:
            answer = await self._traffic.after(client, self._url(), "gauge", scope, token)
            if answer is not None and answer["fresh"]:
                return
            await asyncio.sleep(0.2)
