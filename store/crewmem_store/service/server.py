"""An ASGI application on a port, inside a running loop and without signal handlers: those are the process's own affair."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from crewmem_producers.errors import SettingsError
from fastapi import FastAPI

GRACE_SECONDS = 10
"""How long calls in flight may take once the server is told to stop."""

SETTINGS = ("CREWMEM_HOST", "CREWMEM_PORT")
"""What gives the service its address; the consumer's pages have settings of their own."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(app: FastAPI, *, host: str, port: int, settings: tuple[str, str] = SETTINGS) -> AsyncIterator[int]:
    """Serves the app and gives the port that it listens on (port 0 takes a free one). `settings` are what the address was
    given by.

    Leaving it stops taking calls and lets those in flight finish. Raises SettingsError when the address cannot be had.
    """
    listener = listen(host, port, settings=settings)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        taken: int = listener.getsockname()[1]
        yield taken
    finally:
        server.should_exit = True
        await task


def listen(host: str, port: int, *, settings: tuple[str, str] = SETTINGS) -> socket.socket:
    """A socket that listens there, and sends what it has at once. Raises SettingsError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(f"{host}:{port} cannot be listened on: {error}. Set {' and '.join(settings)}") from error
    # Its connections inherit this. asyncio sees no TCP in a socket made so and leaves it out; then the body of an answer
    # waits for the caller's acknowledgement of its head, and callers put that off for 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
