"""On one machine a generation is written by one process at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from crewmem_consumers.writing_rights import WritingRights
from crewmem_producers.settings import ConsumerSettings

HOLDS = """
import sys, time
from pathlib import Path
from crewmem_consumers.writing_rights import WritingRights
rights = WritingRights(Path(sys.argv[1]))
print(rights.take("g1"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "writing"


def test_a_right_is_one_holders_until_it_is_given_back(folder: Path) -> None:
    one, two = WritingRights(folder), WritingRights(folder)
    assert one.take("g1") and one.take("g1"), "who has it may ask again"
    assert not two.take("g1")
    assert two.is_elsewhere("g1") and not one.is_elsewhere("g1")
    one.give_back("g1")
    assert two.take("g1")


def test_each_generation_has_a_right_of_its_own_and_asking_takes_none(folder: Path) -> None:
    one, two = WritingRights(folder), WritingRights(folder)
    assert one.take("g1")
    assert not two.is_elsewhere("g2")
    assert one.take("g2")


def test_giving_back_what_is_not_held_is_harmless(folder: Path) -> None:
    one, two = WritingRights(folder), WritingRights(folder)
    assert one.take("g1")
    two.give_back("g1")
    assert not two.take("g1")


def test_a_process_that_is_killed_has_no_right_any_more(folder: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    rights = WritingRights(folder)
    assert not rights.take("g1")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert rights.take("g1")


def test_on_kafka_everybody_has_every_right(tmp_path: Path) -> None:
    settings = ConsumerSettings(home=tmp_path, kafka_bootstrap="127.0.0.1:1")
    one, two = WritingRights.of(settings), WritingRights.of(settings)
    assert one.take("g1") and two.take("g1") and not two.is_elsewhere("g1")
    assert list(tmp_path.iterdir()) == []
