"""The REST API as Python calls: one place that sends, and that says what an answer means."""

from __future__ import annotations

import threading
from typing import Any, Literal

import httpx
from crewmem_producers import forks
from crewmem_producers.errors import ServiceUnavailable, SettingsError
from crewmem_producers.settings import CrewSettings
from crewmem_producers.transport_http import LOOPBACK

from crewmem.errors import KeyRefused, NotFound, NotFresh, RequestRefused, RightRefused
from crewmem.tracing import traceparent

Method = Literal["GET", "POST", "DELETE"]
MAX_CONNECT_SECONDS = 2.0
CONNECT_SHARE = 0.2
"""The part of the whole time in which there must be a connection."""
REFUSALS = {401: KeyRefused, 403: RightRefused, 404: NotFound}


def required_key(settings: CrewSettings) -> str:
    """The API key that the settings lead to. Raises SettingsError when there is none, or none that a header can hold."""
    key = settings.resolved_api_key()
    if not key:
        raise SettingsError(
            f"no API key for {settings.base_url}: set CREWMEM_API_KEY (or CREWMEM_API_KEY_FILE), "
            "or start `crewmem up` on this machine, which makes one"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError("CREWMEM_API_KEY has characters that no key has; copy it again, without line breaks")
    return key


def address(settings: CrewSettings) -> tuple[str, str]:
    """The service's base URL without a slash at its end, and its host. Raises SettingsError for what is no address."""
    try:
        url = httpx.URL(settings.base_url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"CREWMEM_BASE_URL is no address: {settings.base_url} ({error})") from error
    return settings.base_url.rstrip("/"), url.host


def _in_all(seconds: float) -> httpx.Timeout:
    """That long for connection and answer together: httpx knows a time for each alone."""
    connect = min(MAX_CONNECT_SECONDS, CONNECT_SHARE * seconds)
    return httpx.Timeout(seconds - connect, connect=connect)


def _trace() -> dict[str, str]:
    found = traceparent()
    return {"traceparent": found} if found else {}


class Client:
    """One service and key. Safe to share between threads; connections are made at first use, anew in a forked child."""

    def __init__(self, settings: CrewSettings) -> None:
        self._key = required_key(settings)
        self._base_url, self._host = address(settings)
        self._timeout = settings.recall_timeout_seconds
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        forks.watch(self)

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
        """The answer's JSON object. `wait_seconds` is how long the service itself may wait, on top of
        CREWMEM_RECALL_TIMEOUT_SECONDS; `timeout_seconds`, where it is given, is what the whole call may take instead.

        Raises ServiceUnavailable (connection, time-out, 429, 5xx), KeyRefused, RightRefused, NotFound, NotFresh,
        RequestRefused.
        """
        timeout = self._limits(self._timeout + wait_seconds) if timeout_seconds is None else _in_all(timeout_seconds)
        try:
            response = self._client().request(
                method, self._base_url + path, json=json, params=params, timeout=timeout, headers=_trace()
            )
        except UnicodeEncodeError as error:
            raise RequestRefused(f"the text holds half a character that UTF-8 cannot: {error}") from error
        except httpx.HTTPError as error:
            raise ServiceUnavailable(
                f"{self._base_url} does not answer ({type(error).__name__}: {error}): start it (`crewmem up` or "
                "`crewmem serve`), or mend CREWMEM_BASE_URL"
            ) from error
        return self._read(response)

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork_in_child(self) -> None:
        self._http = None  # the parent's connections; not closed here, they are still in use there
        self._lock.release()

    def _limits(self, seconds: float) -> httpx.Timeout:
        """That long for the answer, once there is a connection."""
        return httpx.Timeout(seconds, connect=min(self._timeout, MAX_CONNECT_SECONDS))

    def _client(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                # A proxy from the environment must not see what stays on this machine.
                trust = self._host not in LOOPBACK
                headers = {"Authorization": f"Bearer {self._key}"}
                self._http = httpx.Client(headers=headers, trust_env=trust)
            return self._http

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        known = isinstance(answer, dict)
        if response.is_success and known:
            return dict(answer)
        code, message = (answer.get("error"), answer.get("message")) if known else (None, None)
        text = f"{self._base_url} answered {response.status_code} {code or ''}: {message or response.text[:200]}"
        if code == "not_fresh":
            raise NotFresh(text)
        if 400 <= response.status_code < 500 and response.status_code != 429:
            raise REFUSALS.get(response.status_code, RequestRefused)(text)
        raise ServiceUnavailable(text)
