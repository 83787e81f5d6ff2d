"""`crewmem size`: figures that follow from rates, and rates that this machine can be asked for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from crewmem.cli.app import app
from crewmem.cli.sizing.measured import SEAL_BYTES
from crewmem.cli.sizing.rates import Point, Rates, between
from crewmem.cli.sizing.sums import need
from crewmem_producers.data_keys import DataKeyMaker
from crewmem_producers.master_key import MasterKeys, generate
from crewmem_producers.sealing import Sealer
from crewmem_store.embedder_hashing import HashingEmbedder
from support.logged import remembered_record
from support.registries import DictRegistry
from typer.testing import CliRunner

SMALL = Point(words=100, log_bytes=1_000, store_bytes=4_000, cpu_seconds=0.1, memories=2, memory_bytes=5_000)
LARGE = Point(words=300, log_bytes=2_000, store_bytes=8_000, cpu_seconds=0.5, memories=4, memory_bytes=9_000)
RATES = Rates(source="made up", service_bytes=1e9, points=[LARGE, SMALL])


def printed(*arguments: str) -> Any:
    done = CliRunner().invoke(app, ["size", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_rates_lie_on_straight_lines_between_and_beyond_the_points() -> None:
    assert RATES.at(200).log_bytes == pytest.approx(1_500)
    assert RATES.at(500).log_bytes == pytest.approx(3_000)
    assert RATES.at(10) == SMALL and RATES.at(300) == LARGE
    assert between([1, 2, 4], [10, 20, 0], 3) == 10


def test_a_years_log_and_store_are_those_of_its_kickoffs() -> None:
    found = need(RATES, kickoffs_per_day=100, output_words=100, deployments=10)
    assert found.log_gb_per_year == pytest.approx(1000 * 365 * (1_000 + SEAL_BYTES) / 1e9)
    assert found.replicated_log_gb_per_year == pytest.approx(3 * found.log_gb_per_year)
    assert found.store_gb_per_year == pytest.approx(1000 * 365 * 4_000 / 1e9)
    assert found.memories_per_year == 1000 * 365 * 2
    assert 1.0 < found.recall_memory_gb < 2.0


def test_data_keys_are_those_of_the_sessions_and_never_more_than_kickoffs() -> None:
    most, few = (
        need(RATES, kickoffs_per_day=100, output_words=100, deployments=10, sessions_per_day=sessions) for sessions in (None, 5)
    )
    assert (most.data_keys_per_year, few.data_keys_per_year) == (10 * 100 * 365, 10 * 5 * 365)
    assert need(RATES, kickoffs_per_day=1, output_words=100, deployments=1, sessions_per_day=9).data_keys_per_year == 365
    assert 0 < few.registry_gb_per_year < few.data_key_memory_gb < most.data_key_memory_gb


def test_the_bytes_that_sealing_adds_are_those_that_are_reckoned_with() -> None:
    plain = remembered_record(1)
    sealing = Sealer(keys=DataKeyMaker(registry=DictRegistry(), public=lambda: MasterKeys.parse(generate()).current, maker="m"))
    [sealed] = asyncio.run(sealing.seal([plain]))
    assert sealed.size - plain.size == SEAL_BYTES


def test_cores_keep_up_with_the_busiest_hours_and_a_larger_store_needs_more() -> None:
    one, many = (need(RATES, kickoffs_per_day=40, output_words=300, deployments=count) for count in (1, 10_000))
    assert (one.consumer_cores, many.consumer_cores > 10) == (1, True)
    assert many.consumer_cores_mean > 10_000 * one.consumer_cores_mean
    assert many.backlog_minutes < 24 * 60 / 4, "a day's backlog goes faster than a busy day comes in"


def test_the_command_prints_a_column_for_each_fleet() -> None:
    arguments = ("--kickoffs-per-day", "40", "--output-words", "600", "--deployments", "1", "--deployments", "40")
    found = printed(*arguments)
    assert [one["deployments"] for one in found["needs"]] == [1, 40] and "2026" in found["source"]
    shown = CliRunner().invoke(app, ["size", *arguments])
    assert "40 deployments" in shown.stdout and "log a year" in shown.stdout and found["source"] in shown.stderr
    assert CliRunner().invoke(app, ["size", "--output-words", "600"]).exit_code == 2


def test_this_machine_can_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from crewmem.cli.sizing import measure

    monkeypatch.setattr(measure, "open_embedder", lambda name, *, threads: HashingEmbedder())
    monkeypatch.setattr(measure, "KICKOFFS", 12)
    found = printed("--kickoffs-per-day", "40", "--output-words", "90", "--measure")
    assert found["source"].startswith("`crewmem size --measure`, ")
    [one] = found["needs"]
    assert min(value for value in one.values()) > 0
    assert one["memories_per_year"] == pytest.approx(3 * 40 * 365, rel=0.4)
