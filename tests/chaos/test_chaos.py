"""The chaos run in short: everything is killed a few times, and nothing is lost; without the guards, it is caught."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chaos.findings import LOST
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
async def test_control_without_its_guards_the_same_schedule_is_caught(tmp_path: Path) -> None:
    """The position is stored before what it stands for, and reading begins at the group's commit. The guard that this hides,
    the merge by id, has its control in processes/test_consumer_group.py."""
    options = Options(seed=SEED, events=640, kills=8, rate=40, without=("order", "seek"), widen=0.3)
    result = await played(options, tmp_path / "chaos")
    lost = re.compile(f"{LOST}: .*(has no outcome|cannot be recalled|is not listed)")
    assert any(map(lost.match, result.findings.said)), result.findings.said
