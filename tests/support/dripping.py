"""A server that answers a few bytes at a time and never ends, for tests of what must not be held by one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"


class DrippingServer:
    """Sends `head` at once, then `drip` for as long as the client listens, a piece of `size` every `pause_seconds`."""

    def __init__(self, drip: bytes, *, head: bytes, size: int, pause_seconds: float) -> None:
        self._drip, self._head, self._size, self._pause_seconds = drip, head, size, pause_seconds
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._answering = 0
        self.asked = 0
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def answering(self) -> int:
        """How many clients still listen, once those that hung up have been noticed."""
        for _ in range(200):
            with self._lock:
                if not self._answering:
                    return 0
            self._stopped.wait(0.05)
        return self._answering

    def stop(self) -> None:
        self._stopped.set()
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                with self._lock:
                    self.asked += 1
                    self._answering += 1
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            client.recv(65_536)
            client.sendall(self._head)
            for at in range(0, len(self._drip), self._size):
                if self._stopped.wait(self._pause_seconds):
                    break
                client.sendall(self._drip[at : at + self._size])
            self._stopped.wait()
        with self._lock:
            self._answering -= 1


@contextmanager
def dripping(drip: bytes, *, head: bytes = HEAD, size: int = 1, pause_seconds: float = 0.02) -> Iterator[DrippingServer]:
    server = DrippingServer(drip, head=head, size=size, pause_seconds=pause_seconds)
    try:
        yield server
    finally:
        server.stop()
