"""Small Python programs in processes of their own, for tests of what survives a process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep

PATIENCE_SECONDS = 60.0
_TESTS = Path(__file__).parent.parent


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    """The program, started, with these settings (`base_url="..."` is CREWMEM_BASE_URL); its output can be read."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=_environment(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end, whatever its exit status."""
    process = start(code, **environment)
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def until(happened: Callable[[], object], what: str) -> None:
    """Waits for it, patiently."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not happened():
        if monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        sleep(0.01)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    own = {f"CREWMEM_{name.upper()}": value for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": str(_TESTS), "OMP_NUM_THREADS": "1", **own}
