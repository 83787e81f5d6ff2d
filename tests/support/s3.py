"""An S3 server of the test's own: versitygw, from CREWMEM_TEST_S3."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.waiting import until

ACCESS_KEY, SECRET_KEY, BUCKET = "test", "testsecret", "bucket"


class S3Server:
    """A server that a test may kill and start again on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "meta").mkdir(parents=True)
        (folder / "data" / BUCKET).mkdir(parents=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns once it answers."""
        environment = os.environ | {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        command = [os.environ["CREWMEM_TEST_S3"], "--port", f"127.0.0.1:{self._port}", "posix"]
        command += ["--sidecar", str(self._folder / "meta"), str(self._folder / "data")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until(lambda: _answers(self._port), seconds=60)

    def kill(self) -> None:
        """kill -9; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(20)


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The endpoint of a server with one empty bucket; it is gone afterwards."""
    server = S3Server(folder)
    try:
        server.start()
        yield server.endpoint
    finally:
        server.kill()


def s3_settings(endpoint: str, prefix: str) -> dict[str, str]:
    """The settings of a store at that prefix."""
    return {
        "store": f"s3://{BUCKET}/{prefix}", "s3_endpoint": endpoint, "s3_access_key": ACCESS_KEY, "s3_secret_key": SECRET_KEY,
    }  # fmt: skip


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(1)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
