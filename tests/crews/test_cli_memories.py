"""`crewmem remember | recall | list | forget | outbox` against a live service, and against none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from crewmem.cli.app import app
from support.kafka import free_port
from support.live import Live, live_service
from typer.testing import CliRunner, Result


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Path]]:
    home = tmp_path_factory.mktemp("home")
    with live_service(home) as running:
        yield running, home


@pytest.fixture
def there(live: tuple[Live, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a machine whose service runs."""
    running, home = live
    for name, value in (running.environment() | {"CREWMEM_HOME": str(home)}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of a machine whose service does not answer."""
    monkeypatch.setenv("CREWMEM_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("CREWMEM_API_KEY", "am_live_" + "1" * 32)
    monkeypatch.setenv("CREWMEM_FLUSH_SECONDS", "0")


def crewmem(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.mark.usefixtures("there")
class TestWithAService:
    def test_what_is_remembered_is_recalled_with_its_score_and_listed(self) -> None:
        made = crewmem("remember", "Acme charges [49] dollars", "-s", "cli-1", "--metadata", '{"by": "hand"}', "--json")
        memory = json.loads(made.stdout)
        found = crewmem("recall", "what does Acme charge", "-s", "cli-1")
        assert found.exit_code == 0 and "Acme charges [49] dollars" in found.stdout and memory["id"] in found.stdout
        answer = json.loads(crewmem("recall", "Acme charges [49] dollars", "-s", "cli-1", "--json").stdout)
        assert answer["fresh"] is True and answer["memories"][0]["metadata"] == {"by": "hand"}
        assert answer["memories"][0]["score"] > 0.5
        assert json.loads(crewmem("list", "-s", "cli-1", "--json").stdout)["total"] == 1

    def test_recall_gives_a_block_for_a_prompt_and_says_why(self) -> None:
        crewmem("remember", "Globex limits exports", "-s", "cli-2")
        assert "Globex limits exports" in crewmem("recall", "exports", "-s", "cli-2", "--context").stdout
        explained = json.loads(crewmem("recall", "exports", "-s", "cli-2", "--explain").stdout)
        assert "rank" in explained["memories"][0]["explain"]

    def test_a_session_that_holds_nothing_says_so(self) -> None:
        found = crewmem("recall", "anything", "-s", "cli-empty")
        assert (found.exit_code, found.stdout) == (0, "") and "nothing was found in session" in found.stderr

    def test_the_session_of_the_settings_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREWMEM_SESSION", "cli-set")
        crewmem("remember", "said without a session")
        assert "said without" in crewmem("list").stdout and "said without" in crewmem("list", "-s", "cli-set").stdout

    def test_a_repeat_has_the_id_of_the_first(self) -> None:
        first = crewmem("remember", "said twice", "-s", "cli-3")
        again = crewmem("remember", "said twice", "-s", "cli-3")
        assert first.stdout == again.stdout and "known already" in again.stderr

    def test_content_can_come_from_stdin(self) -> None:
        assert crewmem("remember", "-", "-s", "cli-4", stdin="from a pipe\n").exit_code == 0
        assert "from a pipe" in crewmem("list", "-s", "cli-4").stdout

    def test_a_key_replaces_what_it_said_before(self) -> None:
        crewmem("remember", "the price is 49", "-s", "cli-5", "--key", "price")
        crewmem("remember", "the price is 59", "-s", "cli-5", "--key", "price")
        found = crewmem("recall", "the price", "-s", "cli-5").stdout
        assert "the price is 59" in found and "the price is 49" not in found

    def test_a_memory_is_forgotten_by_id_and_a_session_by_name(self) -> None:
        made = [crewmem("remember", f"thing {number}", "-s", "cli-6").stdout.strip() for number in (1, 2)]
        assert crewmem("forget", made[0]).stdout == f"forgotten: {made[0]}\n"
        assert "thing 2" in crewmem("list", "-s", "cli-6").stdout
        crewmem("remember", "of another session", "-s", "cli-7")
        gone = crewmem("forget", "--session", "cli-6", "--yes", "--json")
        assert json.loads(gone.stdout)["deleted"] is True
        assert json.loads(crewmem("list", "-s", "cli-6", "--json").stdout)["total"] == 0
        assert "of another session" in crewmem("list", "-s", "cli-7").stdout
        crewmem("remember", "said afterwards", "-s", "cli-6")
        assert "said afterwards" in crewmem("list", "-s", "cli-6").stdout, "a forgotten session can be used again"

    def test_forgetting_a_session_that_the_log_knows_nothing_of_says_so_and_names_the_tenant(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crewmem("remember", "a thing", "-s", "cli-9")
        gone = crewmem("forget", "--session", "cli-9", "--yes")
        assert gone.stdout == "forgotten: cli-9 of tenant default\n" and "is the name right" not in gone.stderr
        slip = crewmem("forget", "--session", "cli-nine", "--yes")
        assert slip.exit_code == 0 and "its events stay" not in slip.stderr
        assert "the log has nothing of a session 'cli-nine' of tenant default: is the name right?" in slip.stderr
        key = crewmem("keys", "create", "--name", "acme", "--session", "*", "--tenant", "acme").stdout.strip()
        monkeypatch.setenv("CREWMEM_API_KEY", key)
        crewmem("remember", "a thing", "-s", "cli-10")
        other = crewmem("forget", "--session", "cli-10", "--yes", "--json")
        answer = json.loads(other.stdout)
        assert (answer["id"], answer["tenant"], answer["known"]) == ("cli-10", "default", False)
        assert "The API key of these settings is of tenant acme: with CREWMEM_TENANT=acme" in other.stderr
        assert json.loads(crewmem("list", "-s", "cli-10", "--json").stdout)["total"] == 1
        monkeypatch.setenv("CREWMEM_TENANT", "acme")
        assert json.loads(crewmem("forget", "--session", "cli-10", "--yes", "--json").stdout)["known"] is True
        assert json.loads(crewmem("list", "-s", "cli-10", "--json").stdout)["total"] == 0

    def test_a_session_is_not_forgotten_without_a_yes(self) -> None:
        crewmem("remember", "precious", "-s", "cli-8")
        for answer in ("n\n", ""):
            refused = crewmem("forget", "--session", "cli-8", stdin=answer)
            assert refused.exit_code == 2 and "--yes" in refused.stderr
        assert "precious" in crewmem("list", "-s", "cli-8").stdout

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["remember", ""], "content"),
            (["remember", "   "], "content"),
            (["remember", "x", "-s", "*"], "*"),
            (["remember", "x", "-s", "a\tb\x00"], "control"),
            (["remember", "x", "-s", "s" * 201], "200"),
            (["remember", "x", "--metadata", "{"], "JSON"),
            (["remember", "x", "--metadata", "[1]"], "JSON object"),
            (["remember", "x", "--ttl", "-1"], "ttl"),
            (["remember", "x", "--ttl", "nan"], "ttl"),
            (["remember", "x", "--importance", "2"], "importance"),
            (["recall", ""], "q"),
            (["recall", "x", "--top-k", "0"], "--top-k"),
            (["recall", "x", "--top-k", "101"], "--top-k"),
            (["recall", "x", "--threshold", "2"], "--threshold"),
            (["recall", "x", "-s", "s" * 201], "200"),
            (["list", "--limit", "0"], "--limit"),
            (["list", "--offset", "-1"], "--offset"),
            (["forget"], "--session"),
            (["forget", "0-a", "--session", "s"], "--session"),
            (["forget", "no such id"], "not_found"),
            (["forget", "../../health/live"], "not"),
            (["forget", "--session", "*", "--yes"], "*"),
            (["outbox", "flush", "--timeout", "-1"], "--timeout"),
        ],
    )
    def test_bad_input_exits_with_2_and_the_reason(self, arguments: list[str], reason: str) -> None:
        result = crewmem(*arguments)
        assert result.exit_code == 2, result.output
        assert reason in result.stderr and "Traceback" not in result.stderr and not result.stdout

    def test_a_wrong_key_exits_with_4_and_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREWMEM_API_KEY", "am_live_" + "0" * 32)
        for arguments in (["recall", "x"], ["list"], ["remember", "x"], ["forget", "0-a"]):
            result = crewmem(*arguments)
            assert result.exit_code == 4 and "key" in result.stderr.lower(), result.output

    def test_doctor_tells_of_a_refused_key(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("CREWMEM_API_KEY", "am_live_" + "0" * 32)
        monkeypatch.setenv("CREWMEM_HOME", str(tmp_path))
        result = crewmem("doctor")
        assert result.exit_code == 1 and "crewmem keys create" in result.stdout and "key" in result.stderr


@pytest.mark.usefixtures("away")
class TestWithoutAService:
    @pytest.mark.parametrize("arguments", [["recall", "x"], ["list"], ["forget", "0-a"]])
    def test_what_needs_an_answer_exits_with_3(self, arguments: list[str]) -> None:
        result = crewmem(*arguments)
        assert result.exit_code == 3 and "does not answer" in result.stderr and not result.stdout

    def test_a_memory_waits_in_the_outbox_until_the_service_is_there(
        self, live: tuple[Live, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = crewmem("remember", "said in an outage", "-s", "outage", "--json")
        assert kept.exit_code == 0 and json.loads(kept.stdout)["queued"] is True
        [outbox] = json.loads(crewmem("outbox", "status", "--json").stdout)
        assert (outbox["depth"], outbox["ours"]) == (1, True)
        flushed = crewmem("outbox", "flush", "--timeout", "0.5")
        assert flushed.exit_code == 3 and "1 events still wait" in flushed.stderr

    def test_what_waits_under_a_key_that_was_replaced_is_said_with_the_way_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        crewmem("remember", "said in an outage", "-s", "outage")
        assert "other settings" not in crewmem("outbox", "status").output
        monkeypatch.setenv("CREWMEM_API_KEY", "am_live_" + "2" * 32)
        said = crewmem("outbox", "status")
        assert said.exit_code == 0 and "1 events wait in" in said.stderr and "an API key that was replaced" in said.stderr

    def test_doctor_says_that_the_service_is_away_and_what_to_do(self) -> None:
        result = crewmem("doctor")
        assert result.exit_code == 1 and "crewmem up" in result.stdout and "service" in result.stderr


def test_the_outbox_is_flushed_once_the_service_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    home = tmp_path / "service"
    home.mkdir()
    monkeypatch.setenv("CREWMEM_FLUSH_SECONDS", "0")
    monkeypatch.setenv("CREWMEM_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CREWMEM_API_KEY", "am_live_" + "5" * 32)
    assert json.loads(crewmem("remember", "said in an outage", "-s", "outage", "--json").stdout)["queued"] is True
    with live_service(home, port=port):
        flushed = crewmem("outbox", "flush", "--json")
        assert flushed.exit_code == 0 and json.loads(flushed.stdout) == {"sent": 1, "waiting": 0}
        assert "said in an outage" in crewmem("recall", "said in an outage", "-s", "outage").stdout


def test_without_any_key_the_ways_to_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = crewmem("recall", "x")
    assert result.exit_code == 2 and "CREWMEM_API_KEY" in result.stderr and "crewmem up" in result.stderr
