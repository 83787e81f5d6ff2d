"""The whole of crewmem behind a port, in a thread of the test: log (SQLite, or the Kafka that the settings name), the
consumer's own pipeline, the recall service, with the store and the embedder that need no model.

    python tests/support/live.py FOLDER PORT

runs the same as a process of its own, which a test may kill; it prints its address once it is ready.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crewmem.cli.applied import apply_default_rules
from crewmem_consumers.consumer import run as consume
from crewmem_consumers.health import Health
from crewmem_producers.connect import open_log, open_registry
from crewmem_producers.settings import ConsumerSettings, ServiceSettings, load
from crewmem_store.connect import storage_options
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.lance import LanceStore
from crewmem_store.memory import MemoryStore
from crewmem_store.service.serve import serve
from crewmem_store.store import Store

KEY = "am_live_" + "5" * 32


@dataclass(frozen=True)
class Live:
    base_url: str
    api_key: str = KEY

    def environment(self) -> dict[str, str]:
        return {"CREWMEM_BASE_URL": self.base_url, "CREWMEM_API_KEY": self.api_key}


@contextmanager
def live_service(folder: Path, *, port: int = 0, files: bool = False, **settings: Any) -> Iterator[Live]:
    """Runs until the block ends; raises what stopped it before it was ready. `settings` are those of the log; with `files`
    the store is the one that they name."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    found: dict[str, Any] = {}

    def is_ready(url: str) -> None:
        found["url"] = url
        ready.set()

    def main() -> None:
        try:
            loop.run_until_complete(_run(folder, port, settings, found, is_ready, files))
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=main, name="live-service", daemon=True)
    thread.start()
    assert ready.wait(60)
    if "url" not in found:
        raise RuntimeError("the service did not start") from found.get("error")
    try:
        yield Live(found["url"])
    finally:
        loop.call_soon_threadsafe(found["stop"].set)
        thread.join(60)
    assert not thread.is_alive() and "error" not in found, found.get("error")


async def _run(folder: Path, port: int, settings: dict[str, Any], found: dict[str, Any], is_ready: Any, files: bool) -> None:
    stop = found["stop"] = asyncio.Event()
    service = load(ServiceSettings, home=folder, port=port, admin_key=KEY, **settings)
    store: Store = LanceStore(service.store_uri, storage_options=storage_options(service)) if files else MemoryStore()
    embedder = HashingEmbedder()
    store.open(namespace=service.namespace)
    async with AsyncExitStack() as opened:
        log, registry = open_log(service), open_registry(service)
        for part in (log, registry):
            await part.start()
            opened.push_async_callback(part.close)
        await apply_default_rules(log, source="test")
        shared: dict[str, Any] = {"log": log, "registry": registry, "store": store, "embedder": embedder}
        tasks = [
            asyncio.create_task(consume(load(ConsumerSettings, home=folder, **settings), stop=stop, health=Health(), **shared)),
            asyncio.create_task(serve(service, stop=stop, ready=is_ready, **shared)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            await asyncio.gather(*tasks)


class LiveProcess:
    """The service as a process on one port and folder: `start`, `kill` (SIGKILL), `start` again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._process: subprocess.Popen[str] | None = None
        self.live = Live(f"http://127.0.0.1:{port}")

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CREWMEM_")}
        command = [sys.executable, __file__, str(self._folder), str(self._port)]
        path = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            command, env=environment | {"PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None and self._process.stdout.readline().startswith("http")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


if __name__ == "__main__":
    with live_service(Path(sys.argv[1]), port=int(sys.argv[2])) as running:
        print(running.base_url, flush=True)
        threading.Event().wait()
