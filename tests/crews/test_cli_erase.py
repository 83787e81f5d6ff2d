"""`crewmem forget --session X --erase`: after it, no raw file gives the text, the session's name or a wrapped key back."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crewmem.cli.app import app
from crewmem_producers import codec, data_keys, master_key
from crewmem_producers.connect import open_log, open_registry, open_sealer
from crewmem_producers.destination import outbox_path
from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.log import Record
from crewmem_producers.names import Scope
from crewmem_producers.outbox import Outbox
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, KafkaSettings, load
from crewmem_producers.topics import ensure_topics
from crewmem_producers.transport import Delivered, Refused
from crewmem_store import generations
from support.kafka import Broker
from support.live import live_service
from support.programs import start, until
from support.raw_files import holding
from typer.testing import CliRunner, Result

SESSION, OTHER = "ann-geheim", "bob-bleibt"
PLAIN = "Marker-Makrele drei"
TEXTS = {SESSION: "Marker-Quastenflosser eins", OTHER: "Marker-Steinbutt zwei"}


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sealed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    yield from _running(home, monkeypatch)


@pytest.fixture
def plain(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from _running(home, monkeypatch)


def _running(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with live_service(home, files=True) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield


def publish(session: str) -> None:
    scope, text = Scope.of("default", session), TEXTS[session]
    output = TaskOutput(index=0, key="t", agent_role="Writer", raw=f"Key findings: {text}, kickoff.")
    publisher = Publisher(load(CrewSettings))
    publisher.publish(
        Event(MemoryRemembered(content=f"{text}, remembered", metadata={"by": text}, key=text), scope, source="test"),
        Event(KickoffCompleted(crew="c", crew_key="c", tasks=[output], raw=output.raw), scope, source="test"),
    )
    assert publisher.flush(60)
    publisher.close()


async def newer_schema(settings: KafkaSettings, session: str) -> None:
    """An event of a newer crewmem, which goes to the dead letters as it is."""
    record = codec.encode(Event(MemoryRemembered(content=TEXTS[session], schema_version=9), Scope.of("default", session)))
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    sealer = open_sealer(settings, registry)
    records: list[Record] = [record] if sealer is None else await sealer.seal([record])
    await log.append(records)
    await log.close()
    await registry.close()


async def unsealed(settings: KafkaSettings, text: str) -> None:
    """A memory on the log that nobody sealed."""
    log = open_log(settings)
    await log.start()
    await log.append([codec.encode(Event(MemoryRemembered(content=text), Scope.of("default", OTHER)))])
    await log.close()


async def second_generation(settings: KafkaSettings) -> None:
    registry = open_registry(settings)
    await registry.start()
    await generations.save(registry, replace(generations.active(registry), name="g2"))
    await registry.close()


async def wrapped_keys(settings: KafkaSettings, session: str) -> list[str]:
    registry = open_registry(settings)
    await registry.start()
    found = [value.get("wrapped") for value in data_keys.of_scope(registry, Scope.of("default", session).key).values()]
    await registry.close()
    return [key for key in found if key]


def settled(home: Path) -> bool:
    """Whether both generations have read everything."""
    found = json.loads(crewmem("stats", "--json").stdout)
    return len(found) == 2 and all(one["lag"] == 0 for generation in found for one in generation["partitions"])


@pytest.mark.usefixtures("sealed")
def test_after_an_erase_no_raw_file_gives_the_session_back(home: Path) -> None:
    settings = load(KafkaSettings)
    for session in (SESSION, OTHER):
        publish(session)
        asyncio.run(newer_schema(settings, session))
    asyncio.run(second_generation(settings))
    until(lambda: settled(home), "both generations have read everything")
    keys = {session: asyncio.run(wrapped_keys(settings, session)) for session in (SESSION, OTHER)}
    words = [TEXTS[SESSION], SESSION, *keys[SESSION]]
    before = holding(home, words)
    assert {Path(name).parts[0].removesuffix("-wal") for name in before} >= {"store", "log.sqlite3"}, "what is there is found"
    assert set().union(*before.values()) == set(words)

    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--json")
    answer = json.loads(erased.stdout)
    assert (erased.exit_code, answer["done"], answer["pending"], answer["cannot"]) == (0, True, [], [])
    assert answer["keys"] == len(keys[SESSION]) > 0
    assert holding(home, words) == {}
    kept = holding(home, [TEXTS[OTHER], *keys[OTHER]])
    assert set().union(*kept.values()) == {TEXTS[OTHER], *keys[OTHER]}, "another session is left alone"
    assert json.loads(crewmem("list", "--session", SESSION, "--json").stdout)["total"] == 0
    assert json.loads(crewmem("list", "--session", OTHER, "--json").stdout)["total"] == 2
    assert crewmem("accounting", "--verify").exit_code == 0


@pytest.mark.usefixtures("plain")
def test_without_a_master_key_an_erase_says_what_it_cannot_do(home: Path) -> None:
    publish(SESSION)
    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--json")
    answer = json.loads(erased.stdout)
    assert answer["done"] and "2 records" in answer["cannot"][0] and "without a master key" in answer["cannot"][0]
    still = {Path(name).parts[0].removesuffix("-wal") for name in holding(home, [TEXTS[SESSION]])}
    assert still == {"log.sqlite3"}, "only the log has it"


@pytest.mark.usefixtures("sealed")
def test_an_outbox_that_holds_the_session_is_pending_and_ends_forgotten(home: Path, tmp_path: Path) -> None:
    waiting = Outbox(home / "outbox" / "0123456789abcdef.sqlite3", max_bytes=10**7)
    waiting.append([Event(MemoryRemembered(content=TEXTS[SESSION]), Scope.of("default", SESSION), source="test")])
    waiting.close()
    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0")
    assert erased.exit_code == 1
    assert "1 events of it wait in" in erased.stderr
    assert f"the log has nothing of a session '{SESSION}'" in erased.stderr, "the outbox's events have not come to it"


READER = """
    import sqlite3, sys
    reader = sqlite3.connect({path!r})
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    print("reading", flush=True)
    sys.stdin.readline()
    """


@pytest.mark.usefixtures("sealed")
def test_an_erase_is_pending_while_another_process_reads_an_outbox_whose_write_ahead_log_has_the_text(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = outbox_path(load(CrewSettings))
    outbox = Outbox(path, max_bytes=10**7)
    outbox.append([Event(MemoryRemembered(content=TEXTS[SESSION]), Scope.of("default", SESSION), source="test")])
    reader = start(READER.format(path=str(path)))
    assert reader.stdout is not None and reader.stdout.readline() == "reading\n"
    (row,) = outbox.batch(max_events=1, max_bytes=10**6)
    outbox.settle([(row, Delivered("1.0.0"))])
    outbox.close()
    monkeypatch.setattr("crewmem_producers.outbox_file.BUSY_SECONDS", 0.2)
    asked = ("forget", "--session", SESSION, "--erase", "--yes")
    pending = crewmem(*asked, "--wait", "0")
    assert holding(home / "outbox", [TEXTS[SESSION]]), "the text is still there to be found"
    assert pending.exit_code == 1 and f"{path}-wal is in use and may hold" in pending.stderr
    reader.communicate("\n")
    assert crewmem(*asked).exit_code == 0
    assert holding(home / "outbox", [TEXTS[SESSION]]) == {}


@pytest.mark.usefixtures("sealed")
def test_an_erase_names_what_was_set_aside_because_it_was_damaged_and_what_cannot_be_opened(home: Path) -> None:
    (home / "outbox").mkdir()
    (home / "outbox" / "0123456789abcdef.sqlite3").write_bytes(b"no database " * 500)
    (home / "outbox" / "fedcba9876543210.sqlite3").mkdir()
    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0", "--json")
    answer = json.loads(erased.stdout)
    (aside,) = (home / "outbox").glob("*.damaged-*")
    assert [sentence for sentence in answer["cannot"] if str(aside) in sentence and "delete it" in sentence]
    assert erased.exit_code == 1
    assert [sentence for sentence in answer["pending"] if "fedcba9876543210.sqlite3" in sentence]


def dead_letter(path: Path, session: str) -> None:
    outbox = Outbox(path, max_bytes=10**7)
    outbox.append([Event(MemoryRemembered(content=TEXTS[session]), Scope.of("default", session), source="test")])
    (row,) = outbox.batch(max_events=1, max_bytes=10**6)
    outbox.settle([(row, Refused("forbidden_session"))])
    outbox.close()


def dead_letters(path: Path) -> int:
    outbox = Outbox(path, max_bytes=10**7)
    try:
        return len(outbox.dead_letters())
    finally:
        outbox.close()


@pytest.mark.usefixtures("sealed")
def test_an_erase_deletes_dead_letters_of_its_own_tenant_and_names_those_that_may_be_anothers(home: Path) -> None:
    ours, others = outbox_path(load(CrewSettings)), outbox_path(load(CrewSettings, api_key="am_live_" + "6" * 32))
    for path in (ours, others):
        dead_letter(path, SESSION)
    dead_letter(ours, OTHER)
    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0", "--json")
    (sentence,) = json.loads(erased.stdout)["cannot"]
    assert f"{others} may hold 1 dead letters of it" in sentence and "CREWMEM_API_KEY" in sentence
    assert (dead_letters(ours), dead_letters(others)) == (1, 1)


@pytest.mark.usefixtures("sealed")
def test_an_erase_leaves_the_outbox_of_its_own_key_alone_when_that_is_a_key_of_another_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = crewmem("keys", "create", "--name", "acme", "--session", "*", "--tenant", "acme").stdout.strip()
    monkeypatch.setenv("CREWMEM_API_KEY", key)
    path = outbox_path(load(CrewSettings))
    dead_letter(path, SESSION)
    erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0")
    assert dead_letters(path) == 1 and f"{path} may hold 1 dead letters of it" in erased.stderr
    monkeypatch.setenv("CREWMEM_TENANT", "acme")
    crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0")
    assert dead_letters(path) == 0


def test_an_erase_where_no_consumer_runs_is_pending_until_one_does(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    with live_service(home, files=True) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        publish(SESSION)
    cut_off = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "0", "--json")
    assert cut_off.exit_code == 1 and "generation g1 has not come to the erase" in json.loads(cut_off.stdout)["pending"][0]
    with live_service(home, files=True):
        done = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--json")
    assert done.exit_code == 0 and holding(home, [TEXTS[SESSION], SESSION]) == {}


def test_what_an_outbox_has_delivered_leaves_no_bytes_also_after_a_kill(tmp_path: Path) -> None:
    """The process before was killed after the delivery: its write-ahead log still has the text until the next one begins."""
    path = tmp_path / "box" / "outbox.sqlite3"
    outbox = Outbox(path, max_bytes=10**7)
    outbox.append([Event(MemoryRemembered(content=TEXTS[SESSION]), Scope.of("default", SESSION))])
    assert holding(tmp_path, [TEXTS[SESSION]])
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    (row,) = outbox.batch(max_events=1, max_bytes=10**6)
    outbox.settle([(row, Delivered("1.0.0"))])
    reader.close()
    assert outbox.tidy()
    assert holding(tmp_path, [TEXTS[SESSION]]) == {}
    outbox.close()


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_after_an_erase_no_raw_file_of_kafka_gives_the_session_back(
    home: Path, tmp_path: Path, new_broker: Callable[[], Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events, dead letters and registry of a broker, from both transports; its files lie in the same folder as the store."""
    broker = new_broker()
    broker.start()
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    kafka = {"kafka_bootstrap": broker.bootstrap, "kafka_partitions": 2}
    asyncio.run(ensure_topics(load(KafkaSettings, **kafka)))
    with live_service(home, files=True, **kafka) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        for session in (SESSION, OTHER):
            publish(session)  # to the service
        for name, value in kafka.items():
            monkeypatch.setenv(f"CREWMEM_{name.upper()}", str(value))
        settings = load(KafkaSettings)
        for session in (SESSION, OTHER):
            publish(session)  # to the topic
            asyncio.run(newer_schema(settings, session))
        asyncio.run(second_generation(settings))
        until(lambda: settled(home), "both generations have read everything")
        keys = {session: asyncio.run(wrapped_keys(settings, session)) for session in (SESSION, OTHER)}
        words = [TEXTS[SESSION], SESSION, *keys[SESSION]]
        before = holding(home, words) | holding(broker.folder, words)
        assert set().union(*before.values()) == set(words) and len(keys[SESSION]) >= 2
        for session, text in TEXTS.items():
            assert text in crewmem("recall", text, "--session", session).stdout
        assert holding(broker.folder, [*TEXTS, *TEXTS.values()]) == {}, "what is sealed is nowhere there to be read"
        asyncio.run(unsealed(settings, PLAIN))
        assert holding(broker.folder, [PLAIN]), "what is not sealed would be found"

        erased = crewmem("forget", "--session", SESSION, "--erase", "--yes", "--wait", "180", "--json")
        assert (erased.exit_code, json.loads(erased.stdout)["pending"]) == (0, []), erased.stderr
        assert holding(home, words) == {}
        until(lambda: holding(broker.folder, words) == {}, "the broker removes the files that it compacted")
        assert set().union(*holding(broker.folder, keys[OTHER]).values()) == set(keys[OTHER])
        assert crewmem("accounting", "--verify").exit_code == 0
