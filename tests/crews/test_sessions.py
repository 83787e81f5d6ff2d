from typing import Any

import crewmem
import pytest
from crewmem.errors import InvalidName, SessionMissing
from crewmem.sessions import AGENT_ROLE, Sessions, check, resolve, resolve_call, session


def found(argument: Any = None, *, inputs: dict[str, Any] | None = None, default: str | None = None) -> Sessions:
    return resolve(argument, crew="the crew", inputs=inputs or {}, default=default)


def test_the_session_is_looked_for_in_one_order() -> None:
    inputs = {"crewmem_session": "from inputs"}
    with session("from the block"):
        assert found("argument", inputs=inputs, default="setting").write == "argument"
        assert found(inputs=inputs, default="setting").write == "from inputs"
        assert found(default="setting").write == "from the block"
    assert found(default="setting").write == "setting"


def test_without_any_it_raises_and_names_the_ways() -> None:
    with pytest.raises(SessionMissing) as caught:
        found()
    for way in ("install(session=", "MemoryCrew", "crewmem_session", "with crewmem.session", "CREWMEM_SESSION", '"shared"'):
        assert way in str(caught.value)


def test_a_function_decides_from_the_crew_and_its_inputs() -> None:
    assert found(lambda crew, inputs: f"{crew}/{inputs['user']}", inputs={"user": "ann"}).write == "the crew/ann"


def test_a_function_that_gives_none_leaves_it_to_the_next_in_line() -> None:
    assert found(lambda crew, inputs: None, default="setting").write == "setting"


def test_of_a_list_all_are_read_and_the_first_is_written_to() -> None:
    assert found(["mine", "shared", " mine "]) == Sessions(read=("mine", "shared"), write="mine")


def test_all_sessions_can_be_read_but_not_written_to() -> None:
    assert found(["mine", "*"]) == Sessions(read=("mine", "*"), write="mine")
    with pytest.raises(InvalidName):
        found("*")
    assert resolve_call("*", default=None) == Sessions(read=("*",))


def test_by_role_each_role_is_a_session_of_its_own() -> None:
    assert found(AGENT_ROLE).of_role("Senior\n Researcher\n") == Sessions(
        read=("Senior Researcher",), write="Senior Researcher"
    )


@pytest.mark.parametrize("wrong", ["", "a\x00b", [], ["*"], 7, b"bytes", {"a": 1}])
def test_what_is_no_session_is_refused_before_anything_runs(wrong: Any) -> None:
    with pytest.raises(InvalidName):
        check(wrong)
    with pytest.raises(InvalidName), session(wrong):
        pass


def test_a_call_without_a_session_is_the_shared_ones() -> None:
    assert resolve_call(None, default=None) == Sessions(read=("shared",), write="shared")
    assert resolve_call(None, default="setting").write == "setting"
    with session("block"):
        assert resolve_call(None, default="setting").write == "block"
    with pytest.raises(InvalidName):
        resolve_call(crewmem.AGENT_ROLE, default=None)


def test_a_block_inside_a_block_holds_until_it_ends() -> None:
    with session("outer"):
        with session("inner"):
            assert found().write == "inner"
        assert found().write == "outer"
