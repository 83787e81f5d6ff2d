"""The chaos run in short: everything is killed a few times, and nothing is lost; without the guards, it is caught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chaos.check import DOUBLED, LOST
from chaos.report import section, trouble
from chaos.run import Result, Run
from chaos.schedule import Options

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(1500)]

SEED = 20261123


async def played(options: Options, folder: Path) -> Result:
    """Prints what one needs when it fails, also when an error ends it."""
    folder.mkdir()
    run = Run(options, folder)
    try:
        return await run.run()
    finally:
        print(section(run.result), trouble(run.result), sep="\n\n")


@pytest.mark.usefixtures("own_brokers")
async def test_killing_everything_loses_doubles_and_leaks_nothing(tmp_path: Path) -> None:
    result = await played(Options(seed=SEED, events=640, kills=8, rate=40), tmp_path / "chaos")
    assert not result.findings.counts, result.findings.said


@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.usefixtures("own_brokers")
async def test_the_same_with_the_store_on_an_s3_server_that_is_killed_too(tmp_path: Path) -> None:
    result = await played(Options(seed=SEED, events=640, kills=8, rate=40, store="s3"), tmp_path / "chaos")
    assert not result.findings.counts, result.findings.said


@pytest.mark.slow
@pytest.mark.usefixtures("own_brokers")
@pytest.mark.parametrize(
    ("without", "widen", "caught"),
    [
        (("order", "seek"), 0.3, f"{LOST}: .*(has no outcome|cannot be recalled|is not listed)"),
        (("merge",), 1.0, f"{DOUBLED}: .*is there . times"),
    ],
)
async def test_control_without_its_guards_the_same_schedule_is_caught(
    tmp_path: Path, without: tuple[str, ...], widen: float, caught: str
) -> None:
    """Reading from the group's commit hides what a plain add doubles, so each has a run of its own."""
    result = await played(Options(seed=SEED, events=640, kills=8, rate=40, without=without, widen=widen), tmp_path / "chaos")
    assert any(re.match(caught, said) for said in result.findings.said), result.findings.said
