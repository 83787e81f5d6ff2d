"""The transport of a crew that knows only the recall service: batches to `POST /v1/events`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from crewmem_producers.cloudevents import BATCH_CONTENT_TYPE, RELAY_HEADER, to_bytes
from crewmem_producers.display import visible_line
from crewmem_producers.errors import ServiceBusy, ServiceUnavailable, SettingsError, TransportRefused
from crewmem_producers.events import Event
from crewmem_producers.freshness import parse_token
from crewmem_producers.http_answer import fetch
from crewmem_producers.limits import BATCH_BYTES
from crewmem_producers.transport import Delivered, Fate, Refused, RelayReport

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 35.0
"""For the whole post, connection included: the service answers after the log has acknowledged."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Ten times what is said of the events of a batch."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Hosts that are this machine: no proxy is asked for them."""
_RETRIED = frozenset({408, 425, 429})
_ABOUT_THE_KEY = frozenset({401, 403})


class HttpTransport:
    """Posts in order; keeps one connection. The key is asked for anew for every connection, so that a new one is found."""

    def __init__(
        self,
        *,
        base_url: str | Callable[[], str],
        api_key: Callable[[], str | None],
        transport: httpx.AsyncBaseTransport | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`base_url` may be a function, which is asked before each batch: the service of this machine may move to another port.
        `transport` replaces the network, as httpx means it. `answer_seconds` are for a whole post."""
        self._base_url = base_url
        self._api_key = api_key
        self._transport = transport
        self._answer_seconds = answer_seconds
        self._client: httpx.AsyncClient | None = None
        self._header = ""

    @property
    def _url(self) -> str:
        base_url = self._base_url() if callable(self._base_url) else self._base_url
        return f"{base_url.rstrip('/')}/v1/events"

    async def send(self, events: Sequence[Event]) -> list[Fate]:
        """See `Transport.send`. Batches over 16 MiB go in pieces."""
        bodies = [to_bytes(event) for event in events]
        fates: list[Fate] = []
        for batch in _batches(bodies):
            fates += await self._send(batch)
        return fates

    async def report(self, report: RelayReport) -> None:
        """Goes out as a header of the next batch."""
        self._header = f"depth={report.depth},oldest_seconds={report.oldest_seconds:.1f},version={report.version}"

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _send(self, batch: list[bytes]) -> list[Fate]:
        response = await self._post(b"[" + b",".join(batch) + b"]")
        if response.status_code == 200:
            return _fates(response, len(batch), self._url)
        if _about_the_events(response):
            return await self._halved(batch, response)
        if response.status_code in _ABOUT_THE_KEY:
            await self.close()  # the next try asks for the key again
        if response.status_code in _RETRIED or response.status_code >= 500:
            refused = ServiceBusy if response.status_code == 429 else ServiceUnavailable
            raise refused(
                f"{self._url} answered {response.status_code}: {_said(response)}", retry_after_seconds=_retry_after(response)
            )
        raise TransportRefused(
            f"{self._url} answered {response.status_code}: {_said(response)}. Check CREWMEM_API_KEY and CREWMEM_BASE_URL"
        )

    async def _halved(self, batch: list[bytes], response: httpx.Response) -> list[Fate]:
        """Finds the event that a whole batch was refused for, so that it blocks no other."""
        if len(batch) == 1:
            return [Refused(f"{response.status_code}: {_said(response)}")]
        middle = len(batch) // 2
        return await self._send(batch[:middle]) + await self._send(batch[middle:])

    async def _post(self, content: bytes) -> httpx.Response:
        headers = {"content-type": BATCH_CONTENT_TYPE} | ({RELAY_HEADER: self._header} if self._header else {})
        try:
            return await fetch(
                self._connected(), "POST", self._url, content=content, headers=headers,
                timeout_seconds=self._answer_seconds, max_bytes=MAX_ANSWER_BYTES,
            )  # fmt: skip
        except (httpx.TransportError, OSError) as error:
            raise ServiceUnavailable(f"{self._url} does not answer: {error or type(error).__name__}") from error
        except SettingsError as error:
            raise TransportRefused(str(error)) from error
        except httpx.InvalidURL as error:
            raise TransportRefused(f"CREWMEM_BASE_URL is no address: {error}") from error

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            key = self._api_key()
            self._client = httpx.AsyncClient(
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
                transport=self._transport,
                trust_env=httpx.URL(self._url).host not in LOOPBACK,
            )
        return self._client


def _batches(bodies: Sequence[bytes]) -> list[list[bytes]]:
    """In order, each at most BATCH_BYTES with brackets and commas; a larger event goes alone."""
    batches: list[list[bytes]] = []
    size = BATCH_BYTES
    for body in bodies:
        if not batches or size + len(body) + 1 > BATCH_BYTES:
            batches.append([])
            size = 1
        batches[-1].append(body)
        size += len(body) + 1
    return batches


def _fates(response: httpx.Response, count: int, url: str) -> list[Fate]:
    try:
        results = response.json()["results"]
        fates = [_fate(result) for result in results]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TransportRefused(f"{url} is no crewmem service: {response.text[:200]!r}. Check CREWMEM_BASE_URL") from error
    if len(fates) != count:
        raise TransportRefused(f"{url} answered for {len(fates)} of {count} events: is it a crewmem service?")
    return fates


def _fate(result: dict[str, Any]) -> Fate:
    if result["status"] == "accepted":
        parse_token(result["token"])
        return Delivered(token=result["token"])
    if result["status"] == "refused":
        return Refused(reason=str(result.get("error") or "refused"))
    raise ValueError(f"no such status: {result['status']!r}")


def _about_the_events(response: httpx.Response) -> bool:
    """Whether an event of the batch has caused this answer: 413, also from a proxy in between, or a 400 in the service's words.

    Any other 400 comes from something that is no crewmem service, such as a proxy at a wrong address.
    """
    return response.status_code == 413 or (response.status_code == 400 and _code(response) is not None)


def _code(response: httpx.Response) -> str | None:
    """The `error` of the service's `{error, message}`."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return None


def _said(response: httpx.Response) -> str:
    """The service's `{error, message}` in a line, else the first of its text."""
    if code := _code(response):
        return visible_line(f"{code}: {response.json().get('message', '')}")
    return visible_line(" ".join(response.text[:200].split()))


def _retry_after(response: httpx.Response) -> float | None:
    """Retry-After in seconds; its other form, a date, is left to the relay's own backoff."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
