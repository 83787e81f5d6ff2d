"""`Publisher`: what a process publishes with."""

from __future__ import annotations

import asyncio
import atexit
import functools
import logging
import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.util import Finalize
from typing import Any, Protocol

from crewmem_producers import forks, sizes
from crewmem_producers.destination import check, open_transport
from crewmem_producers.direct_sender import DirectSender
from crewmem_producers.errors import CrewmemError, InvalidEvent, SettingsError
from crewmem_producers.events import PUBLISHABLE, Event
from crewmem_producers.jsonable import jsonable
from crewmem_producers.outbox import OutboxStatus
from crewmem_producers.outbox_sender import OutboxSender
from crewmem_producers.receipt import Receipt
from crewmem_producers.settings import CrewSettings, load
from crewmem_producers.transport import TransportFactory
from crewmem_producers.waiting import await_until, wait_until

log = logging.getLogger(__name__)


class Publisher:
    """Publishes events of one tenant to one destination. Thread-safe; the methods with `a` are the same for asyncio.

    Nothing is opened before the first use. Each process has its own connection, thread and loop: a forked child starts anew.
    """

    def __init__(
        self, settings: CrewSettings | None = None, *, transport: TransportFactory | None = None, **named: Any
    ) -> None:
        """`settings` as they were loaded; without them they are loaded here, those that are `named` as arguments first.
        `transport` makes another transport than the one that they name.

        Raises SettingsError, and MissingExtra for a destination that could never be reached.
        """
        if settings is not None and named:
            raise SettingsError(f"settings are given, so {', '.join(named)} cannot be named beside them")
        settings = load(CrewSettings, **named) if settings is None else settings
        if transport is None:
            check(settings)
        self._settings = settings
        self._open_transport = transport or functools.partial(open_transport, settings)
        self._mutex = threading.Lock()
        self._sender: _Sender | None = None
        self._inherited: list[object] = []
        forks.watch(self, forks.ForkOrder.MAKER)

    def publish(self, *events: Event) -> Receipt:
        """Durable when it returns, in a few milliseconds; the relay sends. All events or none.

        With CREWMEM_DURABILITY=log it waits until the log has acknowledged, at most CREWMEM_FLUSH_SECONDS.
        Raises InvalidEvent, EventTooLarge, OutboxFull, OutboxBroken; in `log` durability LogUnavailable, TransportRefused,
        EventRefused.
        """
        prepared = [piece for event in events for piece in sizes.fit(jsonable(self._own(event)))]
        return self._started().publish(prepared)

    async def apublish(self, *events: Event) -> Receipt:
        """`publish` for asyncio; blocks no loop."""
        return await asyncio.to_thread(self.publish, *events)

    def flush(self, timeout_seconds: float) -> bool:
        """Waits until what is in the outbox now has been sent, and says whether it was.

        After one time-out it does not wait again before the relay has succeeded, so that an outage costs a crew one wait.
        """
        sender = self._started()
        return _flushed(sender, 0.0 if sender.stalled() else timeout_seconds)

    async def aflush(self, timeout_seconds: float) -> bool:
        """`flush` for asyncio; blocks no loop."""
        sender = await asyncio.to_thread(self._started)
        seconds = 0.0 if await asyncio.to_thread(sender.stalled) else timeout_seconds
        if await await_until(await asyncio.to_thread(sender.flushing), seconds):
            return True
        await asyncio.to_thread(sender.timed_out)
        return False

    def status(self) -> OutboxStatus:
        """How the outbox stands; where nothing is kept, an empty status."""
        return self._started().status()

    def close(self) -> None:
        """Stops the relay without waiting for what is left; the next use starts it again."""
        self._close(cut_off=False)

    def before_fork(self) -> None:
        """Waits for a sender that another thread is making: modules that it imports would stay locked in the child."""
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        self._mutex = threading.Lock()
        self._inherited.append(self._sender)  # never freed: its loop shares file descriptors with the parent's
        self._sender = None

    def _own(self, event: Event) -> Event:
        """The event with this host's name. Raises InvalidEvent for a type or tenant that is not published from here."""
        if event.type not in PUBLISHABLE:
            raise InvalidEvent(
                f"{event.type} is not published by programs: {', '.join(sorted(PUBLISHABLE))} are", reason="unknown_type"
            )
        if event.scope is None:
            raise InvalidEvent(
                f"event {event.id} has no scope: pass Event(scope=Scope.of(tenant, session))", reason="wrong_key"
            )
        if event.scope.tenant != self._settings.tenant:
            raise InvalidEvent(
                f"event {event.id} is of another tenant than CREWMEM_TENANT ({self._settings.tenant})", reason="wrong_key"
            )
        return event if event.source else replace(event, source=self._settings.source)

    def _started(self) -> _Sender:
        """This process's sender, made now if there is none."""
        with self._mutex:
            if self._sender is None:
                make = DirectSender if self._settings.durability == "log" else OutboxSender
                self._sender = make(self._settings, self._open_transport)
                atexit.register(self._at_exit)
                if multiprocessing.parent_process() is not None:  # such a child ends without running atexit
                    Finalize(None, self._at_exit, exitpriority=0)
            return self._sender

    def _close(self, *, cut_off: bool) -> None:
        with self._mutex:
            sender, self._sender = self._sender, None
        if sender is not None:
            atexit.unregister(self._at_exit)
            sender.close(cut_off=cut_off)

    def _at_exit(self) -> None:
        """Flushes once more; what remains is one warning."""
        sender = self._sender
        if sender is None:
            return
        flushed = False
        try:
            flushed = _flushed(sender, self._settings.flush_seconds)
            if not flushed:
                status = sender.status()
                log.warning(
                    "not sent yet: %d in the outbox %s (%s); the next process that publishes sends what waits there, or "
                    "`crewmem outbox flush`", status.depth, status.path, status.error or "not sent in time",
                )  # fmt: skip
        except CrewmemError as error:  # a full disk, for one: nothing else catches it at the end of a process
            log.warning("what waits in the outbox was not sent: %s", error)
        self._close(cut_off=not flushed)


class _Sender(Protocol):
    """What a process publishes through: `OutboxSender` or `DirectSender`."""

    def publish(self, events: list[Event]) -> Receipt: ...

    def flushing(self) -> Callable[[], bool]: ...

    def stalled(self) -> bool: ...

    def timed_out(self) -> None: ...

    def status(self) -> OutboxStatus: ...

    def close(self, *, cut_off: bool = False) -> None: ...


def _flushed(sender: _Sender, timeout_seconds: float) -> bool:
    """Whether what waits now was sent within that time. If not, later flushes do not wait until something was delivered."""
    if wait_until(sender.flushing(), timeout_seconds):
        return True
    sender.timed_out()
    return False
