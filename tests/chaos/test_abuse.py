"""What the run says of a tenant that attacks: how it was answered, and whether the others went on being so."""

from __future__ import annotations

import random
from pathlib import Path

import httpx
import pytest
from chaos import traffic
from chaos.abuse import TENANT, Abuser, is_of_abuser
from chaos.findings import STARVED, Findings
from chaos.report import section
from chaos.run import Result
from chaos.schedule import Options
from chaos.traffic import STARVED_SECONDS, Traffic
from crewmem_producers.names import Scope


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("gap", "found"), [(STARVED_SECONDS - 1, 0), (STARVED_SECONDS + 1, 1)])
def test_others_who_are_not_answered_for_two_minutes_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, gap: float, found: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(traffic.time, "monotonic", clock.monotonic)
    asked = Traffic([], [], Findings())
    asked.is_answered()
    clock.now += gap
    asked.is_answered()
    assert asked.longest_gap_seconds == gap and asked.findings.counts[STARVED] == found


def test_what_is_the_attackers_is_known_by_its_scope_and_by_its_records_key() -> None:
    assert is_of_abuser(str(Scope.of(TENANT, "s"))) and is_of_abuser(Scope.of(TENANT, "s").key)
    assert not is_of_abuser(str(Scope.of("acme", "abuser/s")))


async def test_each_round_goes_through_every_door_and_counts_how_it_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.abuse.PAUSE_SECONDS", 0)
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(429)

    abuser = Abuser(["http://127.0.0.1:1"], dice=random.Random(1))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        for kind, attack in abuser._round(client):
            if kind != "a head without an end":
                assert await attack() == 429
    assert set(paths) == {"/v1/memory/remember", "/v1/memory/recall", "/v1/events"}


def test_a_run_that_was_interrupted_says_so_beside_its_zeros(tmp_path: Path) -> None:
    result = Result(Options(seed=1), tmp_path, at="schedule")
    assert "**Not finished**: it ended at schedule" in section(result) and "**0** so far" in section(result)
    result.ended = True
    assert "Not finished" not in section(result) and "**0** |" in section(result)
