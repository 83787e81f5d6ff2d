"""What installing costs and checks, and what an outage, a refused key and a wrong setting do to a crew."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import crewmem
import pytest
from crewmem.errors import (
    InvalidName,
    KeyRefused,
    LogUnavailable,
    RightRefused,
    SessionMissing,
    SettingsError,
    TransportRefused,
)
from support.crews import ScriptedLLM, two_agent_crew
from support.fake_service import FakeService, memory
from support.waiting import until


def test_installing_opens_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    crewmem.install(session="s", api_key="k", base_url="http://127.0.0.1:9", home=tmp_path / "home")
    assert threading.active_count() == threads and not (tmp_path / "home").exists()


def test_wrong_settings_raise_at_install() -> None:
    with pytest.raises(SettingsError, match="API key"):
        crewmem.install(session="s")
    with pytest.raises(SettingsError, match="THRESHOLD"):
        crewmem.install(session="s", api_key="k", threshold=7)
    with pytest.raises(SettingsError, match="colour is no setting"):
        crewmem.install(session="s", api_key="k", colour="red")
    with pytest.raises(InvalidName):
        crewmem.install(session="a\x00b", api_key="k")


def relays() -> int:
    return sum(thread.name == "crewmem-relay" for thread in threading.enumerate())


def test_what_was_installed_can_be_taken_back(service: FakeService) -> None:
    before = set(threading.enumerate())
    crewmem.install(session="s")
    own = crewmem.MemoryCrew(two_agent_crew(ScriptedLLM()), session="own")
    own.kickoff({"topic": "prices"})
    memstore = crewmem.Memstore()
    assert relays() == 1
    crewmem.uninstall()
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("crewmem")]
    for crew in (own, two_agent_crew(ScriptedLLM())):
        crew.kickoff({"topic": "prices"})
    assert [event["session"] for event in service.kickoffs()] == ["own"] and len(service.recalls()) == 1
    assert memstore.recall("x", "own") == [], "a client goes on working"
    crewmem.uninstall()
    crewmem.install(session="again")
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    assert service.kickoffs()[-1]["session"] == "again"


def test_an_unknown_setting_warns_and_says_which_is_right(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CREWMEM_BASE_ULR", "http://x")
    crewmem.install(session="s", api_key="k")
    assert "CREWMEM_BASE_URL" in caplog.text


def test_a_kickoff_without_a_session_raises_before_any_model_is_called(service: FakeService) -> None:
    crewmem.install()
    llm = ScriptedLLM()
    with pytest.raises(SessionMissing, match="shared"):
        two_agent_crew(llm).kickoff({"topic": "prices"})
    assert llm.prompts == [] and service.calls == []


@pytest.mark.parametrize("way", ["inputs", "block", "setting"])
def test_a_session_can_be_named_in_every_way(way: str, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "setting":
        monkeypatch.setenv("CREWMEM_SESSION", "named")
    crewmem.install()
    inputs = {"topic": "prices"} | ({"crewmem_session": "named"} if way == "inputs" else {})
    if way == "block":
        with crewmem.session("named"):
            two_agent_crew(ScriptedLLM()).kickoff(inputs)
    else:
        two_agent_crew(ScriptedLLM()).kickoff(inputs)
    assert [event["session"] for event in service.kickoffs()] == ["named"]


def test_a_before_kickoff_callback_can_name_the_session(service: FakeService) -> None:
    crewmem.install()
    crew = two_agent_crew(ScriptedLLM())
    crew.before_kickoff_callbacks.append(lambda inputs: inputs | {"crewmem_session": "named"})
    crew.kickoff({"topic": "prices"})
    assert [event["session"] for event in service.kickoffs()] == ["named"]


def test_of_a_list_all_are_read_in_one_recall_and_the_first_is_written_to(service: FakeService) -> None:
    service.memories = {"mine": [memory("of mine", session="mine")], "shared": [memory("of all", session="shared", id="0-b")]}
    crewmem.install(session=["mine", "shared"])
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "prices"})
    assert [call["session"] for call in service.recalls()] == [["mine", "shared"]]
    assert "of mine" in llm.prompts[0] and "of all" in llm.prompts[0]
    (event,) = service.kickoffs()
    assert event["session"] == "mine" and {found["session"] for found in event["recalled"]} == {"mine", "shared"}


def test_by_agent_role_each_agent_reads_and_writes_its_own_session(service: FakeService) -> None:
    service.memories = {
        "Senior Researcher": [memory("for researchers", session="Senior Researcher")],
        "Content Writer": [memory("for writers", session="Content Writer", id="0-b")],
    }
    crewmem.install(session=crewmem.AGENT_ROLE)
    llm = ScriptedLLM()
    two_agent_crew(llm).kickoff({"topic": "prices"})
    assert ["for researchers" in prompt for prompt in llm.prompts] == [True, False]
    assert ["for writers" in prompt for prompt in llm.prompts] == [False, True]
    assert [call["session"] for call in service.recalls()] == [["Senior Researcher"], ["Content Writer"]]
    first, last = service.kickoffs()
    assert (first["session"], last["session"]) == ("Senior Researcher", "Content Writer")
    assert first["execution_id"] == last["execution_id"] and first["raw"] == "" and last["raw"]
    assert [task["agent_role"] for event in (first, last) for task in event["tasks"]] == ["Senior Researcher", "Content Writer"]
    assert [found["session"] for found in first["recalled"]] == ["Senior Researcher"]


def test_by_agent_role_a_failure_goes_to_the_role_that_failed(service: FakeService) -> None:
    def answer(prompt: str) -> str:
        if "Write it down" in prompt:
            raise RuntimeError("gone")
        return "found"

    crewmem.install(session=crewmem.AGENT_ROLE)
    crew = two_agent_crew(ScriptedLLM(answer))
    for agent in crew.agents:
        agent.max_retry_limit = 0
    with pytest.raises(RuntimeError):
        crew.kickoff({"topic": "prices"})
    assert [(event["session"], event["type"]) for event in service.kickoffs()] == [
        ("Senior Researcher", "crewmem.kickoff.completed"),
        ("Content Writer", "crewmem.kickoff.failed"),
    ]


def test_only_listed_inputs_are_published_and_never_prompts(service: FakeService) -> None:
    crewmem.install(session="s", publish_inputs=["topic", "absent"])
    two_agent_crew(ScriptedLLM("done")).kickoff({"topic": "prices", "password": "hunter2"})
    (event,) = service.kickoffs()
    assert event["inputs"] == {"topic": "prices"}
    said = json.dumps(event)
    assert "hunter2" not in said and "Research prices" not in said and "Write it down" not in said
    assert [task.get("name") for task in event["tasks"]] == ["research", None]


def test_an_outage_never_stops_a_crew_and_the_event_arrives_later(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    crewmem.install(session="s")
    service.stop()
    assert two_agent_crew(ScriptedLLM("done")).kickoff({"topic": "prices"}).raw == "done"
    warnings = [record for record in caplog.records if record.name == "crewmem" and record.levelno >= logging.WARNING]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    run = crewmem.last_run()
    assert run is not None and not run.published and run.waiting == 1 and "1 waiting in the outbox" in str(run)
    service.start()
    until(lambda: [event["id"] for event in service.kickoffs()] == list(run.event_ids))


@pytest.mark.parametrize(("status", "error"), [(401, KeyRefused), (403, RightRefused)])
def test_a_refused_key_is_an_error_at_every_kickoff_and_raises_if_strict(
    status: int, error: type[Exception], service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.fail = (status, "refused")
    crewmem.install(session="s", flush_seconds=0)
    for _ in range(2):
        caplog.clear()
        assert two_agent_crew(ScriptedLLM("done")).kickoff({"topic": "prices"}).raw == "done"
        assert logging.ERROR in {record.levelno for record in caplog.records if record.name == "crewmem"}
    crewmem.install(session="s", strict=True, flush_seconds=0)
    llm = ScriptedLLM()
    with pytest.raises(error):
        two_agent_crew(llm).kickoff({"topic": "prices"})
    assert llm.prompts == []


def test_with_log_durability_a_kickoff_that_cannot_be_published_raises(service: FakeService) -> None:
    crewmem.install(session="s", durability="log", flush_seconds=0.2)
    service.stop()
    with pytest.raises(LogUnavailable):
        two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})


def test_a_bug_of_ours_never_stops_a_crew(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    crewmem.install(session="s")
    monkeypatch.setattr("crewmem.kickoff.make_block", lambda *args, **options: 1 / 0)
    assert two_agent_crew(ScriptedLLM("done")).kickoff({"topic": "prices"}).raw == "done"
    assert "the crew goes on" in caplog.text


def test_every_kickoff_is_one_info_line(service: FakeService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="crewmem")
    service.memories["s"] = [memory("Acme has no API docs")]
    crewmem.install(session="s")
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})
    (line,) = [record.getMessage() for record in caplog.records if record.name == "crewmem"]
    run = crewmem.last_run()
    assert run is not None and line == str(run)
    assert "session s" in line and "1 memory recalled" in line and "score 0.80" in line and run.event_ids[0] in line


def test_a_key_that_may_not_write_is_an_error_at_every_kickoff_and_raises_if_strict(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service.refuse_events = (403, "forbidden_right")
    crewmem.install(session="s")
    crew = two_agent_crew(ScriptedLLM("done"))
    crew.kickoff({"topic": "prices"})
    outbox = crewmem.Publisher(crewmem.Memstore().settings)
    until(lambda: outbox.status().caller_refused)
    outbox.close()
    caplog.clear()
    assert crew.kickoff({"topic": "prices"}).raw == "done"
    assert "is not published" in caplog.text and "forbidden_right" in caplog.text
    crewmem.install(session="s", strict=True)
    with pytest.raises(TransportRefused, match="forbidden_right"):
        crew.kickoff({"topic": "prices"})
