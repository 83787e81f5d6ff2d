"""`crewmem rules`: files are checked and put on the log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from crewmem.cli.app import app
from crewmem.cli.applied import apply_default_rules
from crewmem_consumers.rules import DEFAULT_RULES, fingerprint
from crewmem_producers.codec import decode
from crewmem_producers.connect import open_log
from crewmem_producers.events import RulesApplied
from crewmem_producers.log import LoggedRecord
from crewmem_producers.log_sqlite import SqliteLog
from crewmem_producers.settings import KafkaSettings, load
from support.logged import rules_record
from support.made_home import made_home
from support.pipeline import remember
from typer.testing import CliRunner, Result

GOOD = "version: 1\nrules:\n  - name: all\n    why: everything counts\n    action: keep\n    with: {kind: data}\n"


def crewmem(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


async def started(*, rules: bool = True) -> list[LoggedRecord]:
    """Starts the machine's log, with the default rules if asked, and reads all of it."""
    log = open_log(load(KafkaSettings))
    await log.start()
    if rules:
        await apply_default_rules(log, source="test")
    records = await log.read(0, 0)
    await log.close()
    return records


def test_a_good_file_is_shown_as_it_is_understood(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    result = crewmem("rules", "check", str(tmp_path / "r.yaml"))
    assert result.exit_code == 0 and "1 rule, no mistake" in result.stdout and "everything counts" in result.stdout
    [rule] = json.loads(crewmem("rules", "check", str(tmp_path / "r.yaml"), "--json").stdout)["rules"]
    assert rule == {"line": 3, "name": "all", "action": "keep", "with": {"kind": "data"}, "why": "everything counts"}


def test_a_time_to_live_is_shown_as_rule_files_write_it(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD.replace("{kind: data}", "{kind: data, ttl: 36h}"))
    assert "kind=data, ttl=1.5d" in crewmem("rules", "check", str(tmp_path / "r.yaml")).stdout


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("version: 1\nrules:\n  - name: a\n    action: kepp\n", 4, "'keep' or 'drop'"),
        ("version: 1\nrules:\n  - name: a\n    action: keep\n    wen: 'true'\n", 5, "wen"),
        ("version: 1\nrules:\n  - name: a\n    when: colour == 'red'\n    action: keep\n", 4, "colour"),
        ("version: 1\nrules:\n  - name: a\n    when: 'text =='\n    action: keep\n", 4, "rule a"),
        ("version: 1\nrules:\n  - name: a\n    action: keep\n  - name: a\n    action: drop\n", 5, "two rules"),
        ("version: 1\nrules: [\n", 3, "YAML"),
        ("", 1, ""),
    ],
)
def test_a_mistake_is_told_with_file_line_and_reason(tmp_path: Path, text: str, line: int, reason: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    asyncio.run(started())
    for command in ("check", "apply"):
        result = crewmem("rules", command, str(file))
        assert result.exit_code == 2
        assert f"{file}, line {line}: " in result.stderr and reason in result.stderr
    assert len(asyncio.run(started(rules=False))) == 1, "a refused file is not on the log"


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.yaml", "binary.yaml"):
        result = crewmem("rules", "check", str(tmp_path / name))
        assert result.exit_code == 2 and name in result.stderr


def test_apply_puts_the_file_on_the_log_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    asyncio.run(started())
    applied = json.loads(crewmem("rules", "apply", str(tmp_path / "r.yaml"), "--json").stdout)
    assert applied == {"sha256": fingerprint(GOOD), "positions": [{"partition": 0, "offset": 1}]}
    body = decode(asyncio.run(started())[1]).body
    assert isinstance(body, RulesApplied) and (body.rules, body.sha256) == (GOOD, fingerprint(GOOD))


def test_the_rules_in_force_are_printed_as_they_were_applied(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    asyncio.run(started(rules=False))
    shown = crewmem("rules", "show")
    assert (shown.exit_code, shown.stdout) == (0, DEFAULT_RULES) and "the default rules" in shown.stderr
    crewmem("rules", "apply", str(tmp_path / "r.yaml"))
    shown = crewmem("rules", "show")
    assert (shown.stdout, "rules that were applied" in shown.stderr) == (GOOD, True)
    told = json.loads(crewmem("rules", "show", "--json").stdout)
    assert (told["sha256"], told["default"], told["text"]) == (fingerprint(GOOD), False, GOOD)
    assert [rule["name"] for rule in told["rules"]] == ["all"]
    assert crewmem("rules", "show", "--default").stdout == DEFAULT_RULES


def test_rules_that_consumers_have_read_are_found_in_their_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read only behind what they have processed."""
    home = made_home(tmp_path / "home", on_log=[rules_record(GOOD), remember("a"), remember("b", number=1)], waiting=1)
    monkeypatch.setenv("CREWMEM_HOME", str(home))
    assert crewmem("rules", "show").stdout == GOOD
    read: list[int] = []
    read_log = SqliteLog.read

    async def noted(self: SqliteLog, partition: int, start: int, **options: Any) -> Any:
        read.append(start)
        return await read_log(self, partition, start, **options)

    monkeypatch.setattr(SqliteLog, "read", noted)
    assert crewmem("rules", "show").stdout == GOOD
    assert read == [2]


def test_without_a_log_only_the_default_rules_can_be_shown() -> None:
    refused = crewmem("rules", "show")
    assert refused.exit_code == 2 and "there is no event log" in refused.stderr and not refused.stdout
    assert crewmem("rules", "show", "--default").stdout == DEFAULT_RULES


def test_apply_makes_no_log_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(GOOD)
    result = crewmem("rules", "apply", str(tmp_path / "r.yaml"))
    assert result.exit_code == 2 and "there is no event log" in result.stderr
    assert not (load(KafkaSettings).home / "log.sqlite3").exists()


def test_a_new_log_gets_the_default_rules_once() -> None:
    asyncio.run(started())
    [record] = asyncio.run(started())
    body = decode(record).body
    assert isinstance(body, RulesApplied) and body.rules == DEFAULT_RULES


def test_topics_are_for_a_broker() -> None:
    result = crewmem("topics", "create")
    assert result.exit_code == 2 and "CREWMEM_KAFKA_BOOTSTRAP" in result.stderr
