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


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """The endpoint of a server with one empty bucket; it is gone afterwards."""
    meta, data = folder / "meta", folder / "data"
    meta.mkdir(parents=True)
    (data / BUCKET).mkdir(parents=True)
    port = _free_port()
    environment = os.environ | {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    command = [os.environ["CREWMEM_TEST_S3"], "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(meta), str(data)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: _answers(port), seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


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
