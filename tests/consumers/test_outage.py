import logging

import pytest
from crewmem_consumers.outage import Outage
from crewmem_producers.errors import LogUnavailable, StoreUnavailable


@pytest.fixture
def outage(caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.DEBUG, logger="crewmem.test")
    return Outage("g1 partition 3", logger=logging.getLogger("crewmem.test"))


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of each line that is shown by default."""
    return [(one.levelname, one.getMessage()) for one in caplog.records if one.levelno > logging.DEBUG]


def test_an_outage_is_one_warning_and_its_end_one_line(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(20):
        outage.say(LogUnavailable(f"no broker, try {number}"))
    outage.say(None)
    outage.say(None)
    assert said(caplog) == [
        ("WARNING", "g1 partition 3 waits: no broker, try 0"),
        ("INFO", "g1 partition 3 goes on"),
    ]


def test_an_error_of_another_kind_is_said_and_so_is_the_next_outage(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for error in (LogUnavailable("log"), StoreUnavailable("store"), None, StoreUnavailable("store again")):
        outage.say(error)
    assert [level for level, _ in said(caplog)] == ["WARNING", "WARNING", "INFO", "WARNING"]


def test_a_fault_of_ours_is_an_error_with_its_traceback_once(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        outage.say(RuntimeError("a fault"))
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.exc_info is not None and "failed and tries again" in record.getMessage()


def test_nothing_is_said_when_nothing_was_away(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.say(None)
    assert caplog.records == []
