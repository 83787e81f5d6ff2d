"""The REST API as Python calls: one place that sends, and that says what an answer means."""

from __future__ import annotations

import concurrent.futures
import threading
from contextlib import suppress
from typing import Any, Literal

import httpx
from crewmem_producers import forks
from crewmem_producers.display import visible_line
from crewmem_producers.errors import ServiceUnavailable, SettingsError
from crewmem_producers.http_answer import fetch
from crewmem_producers.loop_thread import LoopThread
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport_http import LOOPBACK

from crewmem.errors import KeyRefused, NotFound, NotFresh, RequestRefused, RightRefused
from crewmem.tracing import traceparent

Method = Literal["GET", "POST", "DELETE"]
MAX_CONNECT_SECONDS = 2.0
CONNECT_SHARE = 0.2
"""The part of the whole time in which there must be a connection."""
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""More than 100 memories of the greatest size, which is the longest answer."""
STOP_SECONDS = 1.0
GRACE_SECONDS = 0.5
"""How much longer than its time a call waits for the thread that sends it, which a slow name server may hold."""
REFUSALS = {401: KeyRefused, 403: RightRefused, 404: NotFound}


def required_key(settings: CrewSettings) -> str:
    """The API key that the settings lead to. Raises SettingsError when there is none, or none that a header can hold."""
    key = settings.resolved_api_key()
    if not key:
        raise SettingsError(
            f"no API key for {settings.service_url()}: set CREWMEM_API_KEY (or CREWMEM_API_KEY_FILE), "
            "or start `crewmem up` on this machine, which makes one"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError("CREWMEM_API_KEY has characters that no key has; copy it again, without line breaks")
    return key


def host(settings: CrewSettings) -> str:
    """The host of the service's address. Raises SettingsError for what is not an address."""
    url = settings.service_url()
    try:
        return httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise SettingsError(f"CREWMEM_BASE_URL is no address: {url} ({error})") from error


def _trace() -> dict[str, str]:
    found = traceparent()
    return {"traceparent": found} if found else {}


class Client:
    """One service and key. Safe to share between threads; connections are made at first use, again in a forked child.

    Calls are sent by a thread with a loop of its own: only there can a call be given up in the middle of an answer.
    """

    def __init__(self, settings: CrewSettings) -> None:
        self._key = required_key(settings)
        self._host = host(settings)
        self._settings = settings
        self._timeout_seconds = settings.recall_timeout_seconds
        self._lock = threading.Lock()
        self._sender: _Sender | None = None
        self._inherited: list[object] = []
        forks.watch(self, forks.ForkOrder.MAKER)

    def call(
        self,
        method: Method,
        path: str,
        *,
        json: Any = None,
        params: Any = None,
        wait_seconds: float = 0,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Return the answer's JSON object.

        The whole call takes CREWMEM_RECALL_TIMEOUT_SECONDS and `wait_seconds`, which the service itself may wait, or
        `timeout_seconds` where that is given: connection, every byte of the answer and all.

        Raise ServiceUnavailable (connection, time-out, 429, 5xx, an answer over 32 MiB), KeyRefused, RightRefused, NotFound,
        NotFresh, RequestRefused.
        """
        seconds = self._timeout_seconds + wait_seconds if timeout_seconds is None else timeout_seconds
        request = {"json": json, "params": params, "headers": _trace()}
        try:
            response = self._started().request(method, self._base_url + path, seconds, request)
        except UnicodeEncodeError as error:
            raise RequestRefused(f"the text holds half a character that UTF-8 cannot: {error}") from error
        except httpx.HTTPError as error:
            raise ServiceUnavailable(
                f"{self._base_url} does not answer ({type(error).__name__}: {error}): start it (`crewmem up` or "
                "`crewmem serve`), or correct CREWMEM_BASE_URL"
            ) from error
        return self._read(response)

    @property
    def _base_url(self) -> str:
        """Asked for at each call: `crewmem up` may be started again on another port."""
        return self._settings.service_url()

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        self._inherited.append(self._sender)  # never freed: its loop shares file descriptors with the parent's
        self._sender = None
        self._lock = threading.Lock()

    def _started(self) -> _Sender:
        with self._lock:
            if self._sender is None:
                # A proxy from the environment must not see what stays on this machine.
                try:
                    self._sender = _Sender(key=self._key, trust_env=self._host not in LOOPBACK)
                except RuntimeError as error:
                    raise ServiceUnavailable(f"{self._base_url} is not asked: this interpreter is ending") from error
            return self._sender

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        known = isinstance(answer, dict)
        if response.is_success and known:
            return dict(answer)
        code, message = (answer.get("error"), answer.get("message")) if known else (None, None)
        said = visible_line(message or response.text[:200])
        text = f"{self._base_url} answered {response.status_code} {code or ''}: {said}"
        if code == "not_fresh":
            raise NotFresh(text)
        if 400 <= response.status_code < 500 and response.status_code != 429:
            raise REFUSALS.get(response.status_code, RequestRefused)(text)
        raise ServiceUnavailable(text)


class _Sender:
    """The thread that sends the calls of one client, and its connections."""

    def __init__(self, *, key: str, trust_env: bool) -> None:
        self._thread = LoopThread("crewmem-client")
        self._http = self._thread.submit(_opened(key, trust_env)).result()

    def request(self, method: Method, url: str, seconds: float, request: dict[str, Any]) -> httpx.Response:
        """Return the answer, whole. Raise httpx.HTTPError, httpx.ReadTimeout after `seconds`."""
        timeout = httpx.Timeout(None, connect=min(MAX_CONNECT_SECONDS, CONNECT_SHARE * seconds))
        call = fetch(self._http, method, url, timeout_seconds=seconds, max_bytes=MAX_ANSWER_BYTES, timeout=timeout, **request)
        try:
            answer = self._thread.submit(call)
        except RuntimeError as error:  # another thread has closed this client
            call.close()
            raise httpx.TransportError("the connection was closed") from error
        try:
            return answer.result(seconds + GRACE_SECONDS)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError) as error:
            answer.cancel()
            raise httpx.ReadTimeout(f"no whole answer within {seconds:g} s") from error
        finally:
            del answer  # its error knows this frame: a circle, which would keep the caller's objects until a collection

    def close(self) -> None:
        with suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            self._thread.submit(self._http.aclose()).result(STOP_SECONDS)
        self._thread.stop(STOP_SECONDS)


async def _opened(key: str, trust_env: bool) -> httpx.AsyncClient:
    """A client, made on the loop that uses it."""
    return httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, trust_env=trust_env)
