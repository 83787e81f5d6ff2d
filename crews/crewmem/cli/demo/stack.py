"""`crewmem up` as the demo runs it: a process with a home of its own, which can be killed and started again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from crewmem_producers.errors import ServiceUnavailable
from crewmem_producers.settings import API_KEY_NAME

START_SECONDS = 180
STOP_SECONDS = 30


class Stack:
    """Starts, kills and stops `crewmem up`. `url` and `key_file` are known after the first start; the port then stays."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.key_file = home / API_KEY_NAME
        self.url = ""
        self.said: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Returns once it says `ready`. Raises ServiceUnavailable with what it said instead."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "crewmem.cli", "up", "--home", str(self.home), "--port", port]
        with (self.home.parent / "up.log").open("a", encoding="utf-8") as complaints:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True
            )
        watch = threading.Timer(START_SECONDS, self.kill)
        watch.start()
        try:
            self.said = list(self._until_ready())
        finally:
            watch.cancel()
        self.url = next(line.split()[1] for line in self.said if line.startswith("url"))

    def _until_ready(self) -> Iterator[str]:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return
            yield line.rstrip()
        complaints = (self.home.parent / "up.log").read_text("utf-8").strip()
        raise ServiceUnavailable(f"`crewmem up` did not get ready: {complaints or 'it said nothing'}")

    def kill(self) -> None:
        """kill -9: nothing is closed, nothing is written any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and -9 for what does not end by itself."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
