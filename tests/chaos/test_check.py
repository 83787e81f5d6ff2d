"""Every line of the table can be something else than 0: each check is given a result that is damaged in just that way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from chaos import check, traffic
from chaos.expected import Expected
from chaos.files import check_files, erased_tags
from chaos.findings import BACK, DIED, DIGEST, DOUBLED, KINDS, LEAKED, LOST, OPEN, STARVED, UNSEEN, WRONG, Findings
from chaos.fleet import Fleet, Process
from chaos.rest import LastPass
from chaos.stage import KEYS, NARROW
from chaos.traffic import Traffic
from chaos.workload import Workload, content_of
from crewmem_producers.events import Event, MemoryForgotten, MemoryRemembered, SpanRef, utc_now
from crewmem_producers.names import Scope
from crewmem_store.rows import LedgerRow, MemoryRow, Outcome
from support.keyrings import OpensAllBut
from support.listed_log import ListedLog
from support.pipeline import Pipeline

URL = "http://service"
TIME = "2026-01-01T00:00:00Z"
WORKLOAD = Workload(7, 0)
HERE, THERE = Scope.of("acme", "s01"), Scope.of("acme", "s02")


def fact(number: int, *, scope: Scope = HERE, key: str | None = None) -> Event:
    body = MemoryRemembered(content=content_of(f"p0n{number}", scope), key=key)
    return Event(body=body, scope=scope, id=f"chaos-7-p0-{number:07d}", source="test")


def forget(event: Event) -> Event:
    body = MemoryForgotten(spans=[SpanRef(event_id=event.id, span="content")])
    return Event(body=body, scope=event.scope, id=f"forget-{event.id}", source="test")


class Damaged:
    """A reader whose rows of memory and of the ledger are not as they were written."""

    def __init__(self, reader: Any, *, rows: Any = None, ledger: Any = None) -> None:
        self._reader = reader
        self._rows: Callable[[list[MemoryRow]], list[MemoryRow]] = rows or (lambda found: found)
        self._ledger: Callable[[list[LedgerRow]], list[LedgerRow]] = ledger or (lambda found: found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def scan(self, partition: int) -> Iterator[Sequence[MemoryRow]]:
        yield self._rows([row for rows in self._reader.scan(partition) for row in rows])

    def ledger(self, partition: int, *, start: int, limit: int) -> Sequence[LedgerRow]:
        found = list(self._reader.ledger(partition, start=start, limit=limit))
        return self._ledger(found) if start == 0 else found


class World:
    """A small log and what an undisturbed consumer made of it: facts, one superseded, one forgotten, one that is erased."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()
        gone = fact(6, scope=THERE)
        self.pipeline.run(
            fact(0), fact(1), fact(2, key="k"), fact(3, key="k"), fact(4), forget(fact(4)), fact(5, scope=THERE), gone
        )
        self.pipeline.keyring = OpensAllBut(7)
        self.wanted = check.expected(self.records, self.pipeline.generation, self.pipeline.keyring)
        self.findings = Findings()

    @property
    def records(self) -> check.Records:
        return {0: self.pipeline.log}

    def reader(self, **damage: Any) -> Any:
        def erased(rows: list[MemoryRow]) -> list[MemoryRow]:
            """The erasure itself is none of the checker's concern: here the row is just gone."""
            return [row for row in rows if row.event_id != fact(6).id]

        return Damaged(Damaged(self.pipeline.store.reader("g1"), rows=erased), **damage)

    def check(self, **damage: Any) -> dict[str, int]:
        check.check_generation("g1", self.reader(**damage), self.wanted, partitions=1, findings=self.findings)
        return dict(self.findings.counts)


@pytest.fixture
def world() -> World:
    return World()


def test_a_kind_that_no_table_shows_is_refused() -> None:
    with pytest.raises(KeyError):
        Findings().add("somewhat odd", "x")
    assert set(KINDS) == {LOST, DOUBLED, LEAKED, BACK, UNSEEN, STARVED, WRONG, OPEN, DIGEST, DIED}


def test_what_an_undisturbed_consumer_made_is_well(world: World) -> None:
    assert world.check() == {}


def first(rows: list[Any], **changes: Any) -> list[Any]:
    return [replace(rows[0], **changes), *rows[1:]]


def of(event: Event, rows: list[MemoryRow], **changes: Any) -> list[MemoryRow]:
    """The rows, that of this event changed."""
    return [replace(row, **changes) if row.event_id == event.id else row for row in rows]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ({"ledger": lambda rows: rows[1:]}, LOST),
        ({"rows": lambda rows: rows[1:]}, LOST),
        ({"rows": lambda rows: first(rows, text=None)}, LOST),
        ({"ledger": lambda rows: [rows[0], *rows]}, DOUBLED),
        ({"rows": lambda rows: [rows[0], *rows]}, DOUBLED),
        ({"rows": lambda rows: first(rows, scope=str(THERE))}, LEAKED),
        ({"rows": lambda rows: first(rows, content=content_of("p1n0", Scope.of("globex", "s01")))}, LEAKED),
        ({"rows": lambda rows: of(fact(4), rows, text="x", content="x", scope=str(HERE))}, BACK),
        ({"ledger": lambda rows: first(rows, outcome=Outcome.DROPPED)}, WRONG),
        ({"ledger": lambda rows: [*rows, replace(rows[0], offset=99)]}, WRONG),
        ({"rows": lambda rows: first(rows, content=content_of("p0n99", HERE))}, WRONG),
        ({"rows": lambda rows: of(fact(2), rows, superseded_at=None)}, WRONG),
        ({"rows": lambda rows: first(rows, superseded_at=utc_now())}, WRONG),
    ],
)
def test_damaged_rows_are_found(world: World, damage: dict[str, Any], kind: str) -> None:
    assert kind in world.check(**damage)


def test_an_erased_memory_that_has_text_in_a_row_is_back(world: World) -> None:
    found = Damaged(world.pipeline.store.reader("g1"))
    check.check_generation("g1", found, world.wanted, partitions=1, findings=world.findings)  # type: ignore[arg-type]
    assert world.findings.counts == {BACK: 1}


def test_an_acknowledged_event_that_is_not_on_the_log_is_lost(world: World) -> None:
    check.check_arrival({fact(number).id for number in range(8)}, world.wanted, world.findings)
    assert world.findings.counts == {LOST: 1} and fact(7).id in world.findings.said[0]


@pytest.mark.parametrize(("ended", "lost"), [(timedelta(minutes=1), 0), (timedelta(minutes=-1), 1), (None, 1)])
def test_what_cannot_be_opened_though_it_came_after_every_erasure_is_lost(
    world: World, ended: timedelta | None, lost: int
) -> None:
    erased = {} if ended is None else {THERE.key: utc_now() + ended}
    check.check_unreadable(world.wanted, erased, world.findings)
    assert world.findings.counts[LOST] == lost


@pytest.mark.parametrize(("damage", "found"), [({}, 0), ({"ledger": lambda rows: rows[1:]}, 1)])
async def test_an_account_that_does_not_close_is_found(world: World, damage: dict[str, Any], found: int) -> None:
    log, pipeline = ListedLog(world.pipeline.log), world.pipeline
    reader = Damaged(pipeline.store.reader("g1"), **damage)
    await check.check_account(log, reader, pipeline.generation, OpensAllBut(), world.findings)  # type: ignore[arg-type]
    assert (OPEN in world.findings.counts) == bool(found)


@pytest.mark.parametrize(("damage", "found"), [({}, 0), ({"rows": lambda rows: first(rows, text="x")}, 1)])
async def test_a_digest_that_a_clean_replay_does_not_give_is_found(world: World, damage: dict[str, Any], found: int) -> None:
    pipeline, reader = world.pipeline, world.reader(**damage)
    said = await check.check_digest(world.records, reader, pipeline.generation, pipeline.keyring, world.findings)
    assert world.findings.counts[DIGEST] == found and said.endswith("over 5 memories")


@dataclass
class Service:
    """Answers as a recall service does that holds these memories: (scope, event id) -> content."""

    memories: dict[tuple[Scope, str], str]

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        tenant = next((tenant for tenant, its in KEYS.items() if its == key), "acme")
        if request.url.path.endswith("/list"):
            found = self._of(tenant, request.url.params["session"])
            at = int(request.url.params["offset"])
            return httpx.Response(200, json={"memories": found[at : at + 2], "total": len(found)})
        asked = json.loads(request.content)
        found = [one for one in self._of(tenant, asked["session"]) if asked["q"] in one["content"]]
        return httpx.Response(200, json={"memories": found, "fresh": True})

    def _of(self, tenant: str, session: str) -> list[dict[str, Any]]:
        return [
            {
                "event_id": id,
                "span": "content",
                "content": content,
                "session": scope.session,
                "created_at": "2026-01-01T00:00:00Z",
            }
            for (scope, id), content in self.memories.items()
            if scope.tenant == tenant and session in ("*", scope.session)
        ]


def shown(world: World) -> dict[tuple[Scope, str], str]:
    return {(Scope.parse(scope), id): content for (scope, id, _), content in world.wanted.shown.items()}


async def asked(world: World, service: Service) -> dict[str, int]:
    asking = Traffic([URL], traffic.callers(KEYS, NARROW), world.findings)
    async with service.client() as client:
        await LastPass(asking, world.wanted, dice=random.Random(7), findings=world.findings).run(client)
    return dict(world.findings.counts)


async def test_a_service_that_has_everything_in_its_place_is_well(world: World) -> None:
    assert len(shown(world)) == 4
    assert await asked(world, Service(shown(world))) == {}


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({(HERE, fact(4).id): content_of("p0n4", HERE)}, BACK),
        ({(THERE, fact(6).id): content_of("p0n6", THERE)}, BACK),
        ({(HERE, fact(2).id): content_of("p0n2", HERE)}, WRONG),
        ({(HERE, fact(0).id): content_of("p0n9", HERE)}, WRONG),
        ({(THERE, fact(0).id): content_of("p0n0", HERE)}, LEAKED),
        ({(Scope.of("globex", "s01"), fact(0).id): content_of("p0n0", HERE)}, LEAKED),
    ],
)
async def test_what_must_not_be_listed_is_found(world: World, more: dict[tuple[Scope, str], str], kind: str) -> None:
    assert kind in await asked(world, Service(shown(world) | more))


async def test_what_is_not_listed_or_recalled_is_lost(world: World) -> None:
    memories = shown(world)
    del memories[HERE, fact(0).id]
    assert await asked(world, Service(memories)) == {LOST: 2}


async def test_what_is_listed_twice_is_doubled(world: World) -> None:
    class Twice(Service):
        def _of(self, tenant: str, session: str) -> list[dict[str, Any]]:
            return 2 * super()._of(tenant, session)

    assert DOUBLED in await asked(world, Twice(shown(world)))


async def recalled(service: Service, *, caller: int = 0, session: str = "*", prepare: Any = lambda asking: None) -> Findings:
    asking = Traffic([URL], traffic.callers(KEYS, NARROW), Findings())
    prepare(asking)
    async with service.client() as client:
        await asking.recall(client, asking.callers[caller], URL, "Gauge", session, top_k=20)
    return asking.findings


@pytest.mark.parametrize(
    ("scope", "content", "caller", "kinds"),
    [
        (HERE, content_of("p0n0", HERE), 0, []),
        (HERE, content_of("p0n0", HERE), 2, []),
        (HERE, content_of("p1n0", Scope.of("globex", "s01")), 0, [LEAKED]),
        (HERE, content_of("p0n0", THERE), 0, [LEAKED]),
        (Scope.of("acme", "s11"), content_of("p0n0", Scope.of("acme", "s11")), 2, [LEAKED]),
        (HERE, "what nobody has published: Gauge", 0, [LEAKED]),
    ],
)
async def test_a_recall_that_gives_what_its_caller_may_not_read_is_found(
    scope: Scope, content: str, caller: int, kinds: list[str]
) -> None:
    assert list((await recalled(Service({(scope, "e"): content}), caller=caller)).counts) == kinds


async def test_a_recall_of_one_session_that_gives_another_is_found() -> None:
    class Anywhere(Service):
        def _of(self, tenant: str, session: str) -> list[dict[str, Any]]:
            return super()._of(tenant, "*")

    found = await recalled(Anywhere({(HERE, "e"): content_of("p0n0", HERE)}), session="s02")
    assert found.counts == {LEAKED: 1}


async def test_a_recall_that_gives_what_was_forgotten_before_is_found() -> None:
    service = Service({(HERE, "e"): content_of("p0n0", HERE)})
    assert (await recalled(service, prepare=lambda asking: asking.forgotten.update(e=0.0))).counts == {BACK: 1}
    session = {("acme", "s01"): (0.0, utc_now())}
    assert (await recalled(service, prepare=lambda asking: asking.erased.update(session))).counts == {BACK: 1}


async def test_a_crew_that_does_not_see_what_it_waited_for_is_found() -> None:
    async def handed_over(service: Service) -> Findings:
        asking = Traffic([URL], traffic.callers(KEYS, NARROW), Findings())
        async with service.client() as client:
            await asking._must_see(random.Random(7), client, content_of("p0n0", HERE), HERE, "1.0.0")
        return asking.findings

    assert (await handed_over(Service({(HERE, "e"): content_of("p0n0", HERE)}))).counts == {}
    assert (await handed_over(Service({}))).counts == {UNSEEN: 1}


def test_an_erased_text_in_a_file_is_found(tmp_path: Path) -> None:
    event = WORKLOAD.event(next(filter(WORKLOAD.is_fact, range(100))))
    assert isinstance(event.body, MemoryRemembered)
    pipeline, wanted = Pipeline(), Expected()
    pipeline.append(event)
    wanted.unreadable = {(0, 0): pipeline.log[0]}
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text(f"... {event.body.content} ... {content_of('p5n5', HERE)}")
    for readable, found in (([], {BACK: 1}), ([event.body.content], {})):
        findings = Findings()
        erased = erased_tags(wanted, [WORKLOAD], readable)
        assert check_files([tmp_path], erased, findings) == (1, 2)
        assert findings.counts == found


def test_a_process_that_ends_by_itself_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(tmp_path)
    for name, status in (("consumer-0", 1), ("consumer-1", 3)):
        fleet.add(name, "consume.py", {})
        ended = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
        ended.wait()
        fleet.processes[name].running = ended
        (tmp_path / f"{name}.001.log").touch()
    monkeypatch.setattr(Process, "start", lambda self: None)
    fleet.look()
    assert len(fleet.died) == 1 and "consumer-0 ended by itself with 1" in fleet.died[0] and fleet.waited == 1
