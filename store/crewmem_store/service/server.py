"""An ASGI application on a port, inside a running loop and without signal handlers: those are the process's own affair."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Iterator, Sequence

import uvicorn
from crewmem_producers.errors import SettingsError
from crewmem_producers.limits import HTTP_HEADER_BYTES
from fastapi import FastAPI

from crewmem_store.service.http_protocol import bounded_protocol

GRACE_SECONDS = 10
"""How long calls in flight may take once the server is told to stop."""

KEEP_ALIVE_SECONDS = 15
"""How long a connection may be idle between two calls: longer than clients keep theirs (httpx: 5), so that none is closed under
a call."""

SETTINGS = ("CREWMEM_HOST", "CREWMEM_PORT")
"""What gives the service its address; the consumer's pages have settings of their own."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def served(
    app: FastAPI, *, host: str, port: int, settings: tuple[str, str] = SETTINGS, max_connections: int = 1_000,
    trusted_proxies: Sequence[str] = (),
) -> AsyncIterator[int]:  # fmt: skip
    """Serves the app and gives the port that it listens on (port 0 takes a free one). `settings` are what the address was
    given by.

    `max_connections` are open at once at most; `trusted_proxies` are the addresses whose X-Forwarded-For is believed.

    Leaving it stops taking calls and lets those in flight finish. Raises SettingsError when the address cannot be had.
    """
    listener = listen(host, port, settings=settings)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_SECONDS,
        http=bounded_protocol(max_connections), h11_max_incomplete_event_size=HTTP_HEADER_BYTES, ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS, proxy_headers=bool(trusted_proxies), forwarded_allow_ips=list(trusted_proxies),
    )  # fmt: skip
    _allow_files(max_connections)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        taken: int = listener.getsockname()[1]
        yield taken
    finally:
        server.should_exit = True
        await task


def _allow_files(connections: int) -> None:
    """Raise this process's limit of open files, if it may, to that of its connections and as many for all else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 1_024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


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
