"""A recall service process: `serve.py SPEC`, with SPEC in JSON."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from chaos import program
from crewmem_producers.settings import ServiceSettings
from crewmem_store.embedder_hashing import HashingEmbedder
from crewmem_store.service.serve import serve


async def main(spec: dict[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    program.up(Path(spec["ready"])).touch()
    ready = Path(spec["ready"])
    settings = ServiceSettings(**spec["settings"])
    await serve(settings, stop=stop, embedder=HashingEmbedder(), ready=lambda url: ready.touch())


if __name__ == "__main__":
    program.run(main)
