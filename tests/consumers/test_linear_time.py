"""No text makes what looks at it take time that grows with the square of its length."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


def run(*patterns: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which can be ended: a pattern holds the interpreter for as long as it runs."""
    return subprocess.run(
        [sys.executable, "-m", "support.linear_time", *patterns],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.timeout(1000)
def test_everything_that_looks_at_text_is_linear_in_it() -> None:
    ended = run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    patterns, _, literals, _, functions, _ = ended.stdout.split()
    assert int(patterns) > 100 and int(literals) > 150 and int(functions) > 10, "a pattern is found wherever a module keeps it"


def test_a_pattern_that_is_not_linear_is_caught() -> None:
    ended = run(r"key\s*\s*=")
    assert ended.returncode == 1 and "the pattern" in ended.stdout, ended.stdout + ended.stderr
