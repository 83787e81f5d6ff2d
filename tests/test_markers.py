"""What a test run without any of the optional parts does: it passes, and says what it left out and why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = {
    "kafka": "no Kafka: KAFKA_BOOTSTRAP and KAFKA_HOME are not set, and no docker command is installed",
    "docker": "no docker command is installed",
    "s3": "CREWMEM_TEST_S3 names no versitygw binary",
    "llm": "OPENAI_BASE_URL names no model server",
    "browser": "no chromium with a chromedriver is installed",
    "slow": "takes minutes; run with --slow or -m slow",
}


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A folder with this project's conftest and a test for each marker."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    tests = "".join(f"@pytest.mark.{name}\ndef test_{name}(): pass\n" for name in PARTS)
    (tmp_path / "test_parts.py").write_text(f"import pytest\n{tests}")
    return tmp_path


def run(folder: Path, *arguments: str, **environment: str) -> str:
    known = {"PATH": "/nonexistent", "PYTHONPATH": str(ROOT / "tests"), "HOME": os.environ.get("HOME", "/")}
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(folder), *arguments],
        capture_output=True, text=True, env=known | environment, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_part_that_is_not_there_is_named_with_its_reason(marked: Path) -> None:
    output = run(marked)
    for name, reason in PARTS.items():
        assert f"{name}: {reason}" in " ".join(output.split())
    assert "6 skipped" in output


@pytest.mark.parametrize("arguments", [["--slow"], ["-m", "slow"], ["-m", "slow and not kafka"]])
def test_slow_tests_run_when_they_are_asked_for(marked: Path, arguments: list[str]) -> None:
    assert "1 passed" in run(marked, *arguments)


def test_slow_tests_do_not_run_when_another_marker_is_asked_for(marked: Path) -> None:
    assert "1 passed" in run(marked, "-m", "not slow and llm", OPENAI_BASE_URL="http://127.0.0.1:1/v1")
