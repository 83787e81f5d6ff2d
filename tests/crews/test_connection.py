"""The connections of a process: shared, and closed when nobody holds them and others came after them."""

from __future__ import annotations

import gc

import pytest
from crewmem import Memstore, connection
from crewmem.client import Client
from crewmem.connection import Connection, connect
from crewmem_producers.publisher import Publisher
from crewmem_producers.settings import CrewSettings, load
from support.fake_service import FakeService
from support.waiting import until


def settings(number: int) -> CrewSettings:
    return load(CrewSettings, api_key=f"am_live_{number:032x}")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The connections that were closed, as the two ends of each."""
    found: list[Connection] = []
    close = Connection.close

    def noted(self: Connection) -> None:
        found.append(self)
        close(self)

    monkeypatch.setattr(Connection, "close", noted)
    monkeypatch.setattr(connection, "MOST_IDLE", 2)
    monkeypatch.setattr(connection, "_destinations", connection._Destinations())
    return found


def ends(of: Connection) -> tuple[Client, Publisher]:
    return of.client, of.publisher


def test_whoever_names_the_same_destination_shares_its_ends() -> None:
    assert ends(connect(settings(1))) == ends(connect(load(CrewSettings, api_key=f"am_live_{1:032x}", top_k=3)))
    assert ends(connect(settings(1))) != ends(connect(settings(2)))


def test_of_destinations_that_nobody_holds_any_more_only_some_are_kept(closed: list[Connection]) -> None:
    held = connect(settings(0))
    first = ends(connect(settings(1)))
    for number in (2, 3, 1, 4):
        connect(settings(number))
        gc.collect()
    assert len(closed) == 1, "2 was asked for longest ago; 1 was asked for again since"
    assert ends(connect(settings(0))) == ends(held) and ends(connect(settings(1))) == first


def test_a_destination_whose_outbox_holds_events_is_kept_until_they_are_sent(
    service: FakeService, closed: list[Connection]
) -> None:
    service.stop()
    Memstore(api_key=f"am_live_{1:032x}").remember("said in an outage")
    for number in (2, 3, 4):
        connect(settings(number))
    kept = [one for one in connection._destinations._known.values() if one.has_work()]
    assert len(kept) == 1 and kept[0].ends not in closed
    service.start()
    until(lambda: service.events and not kept[0].has_work())
    connect(settings(5))
    assert kept[0].ends in closed
