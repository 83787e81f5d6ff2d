"""What is published: an event is a pure function of (seed, publisher, number), so that the checker knows it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered, TaskOutput
from crewmem_producers.names import Scope

TENANTS = ("acme", "globex")
SESSIONS = 24
"""Sessions of each tenant."""
TIDES = 4
"""Outputs name one of so many tides; each rule set drops those of one."""
LOOK_BACK = 40

KINDS = {"fact": 57, "keyed": 14, "kickoff": 14, "same": 6, "repeat": 6, "late": 3}
"""kind -> weight: `same` is another event with an earlier one's content, `repeat` the same event once more, `late` a fact of
an hour ago, as from a publisher that was offline: it stays forgotten where its session was forgotten meanwhile."""
LATE = timedelta(hours=1)
TAG = re.compile(rb"Gauge(p\d+n\d+(?:t\d+)?)a\b")
"""In every content, and in no other."""
_OWNER = re.compile(r" of tenant (\S+) session (\S+) ")


def session_name(number: int) -> str:
    return f"s{number:02d}"


@dataclass(frozen=True)
class Workload:
    """The events of one publisher. `name` is part of every event's id and text."""

    seed: int
    publisher: int

    @property
    def tenant(self) -> str:
        return TENANTS[self.publisher % len(TENANTS)]

    @cached_property
    def name(self) -> str:
        return f"p{self.publisher}"

    def event(self, number: int) -> Event:
        """The event of that number, with the time of the call. A `repeat` has an earlier one's id."""
        kind = self._kind(number)
        if kind in ("same", "repeat"):
            earlier = number - self._dice(number, "back").randrange(1, LOOK_BACK)
            if earlier < 0 or self._kind(earlier) != "fact":
                return self._made("fact", number)
            if kind == "repeat":
                return self._made("fact", earlier)
            return Event(
                body=MemoryRemembered(content=self._content(earlier)), scope=self._scope(earlier), id=self._id(number)
            )  # fmt: skip
        if kind == "late":
            made = self._made("fact", number)
            return replace(made, time=made.time - LATE)
        return self._made(kind, number)

    def is_fact(self, number: int) -> bool:
        return self._kind(number) == "fact"

    def _made(self, kind: str, number: int) -> Event:
        body: MemoryRemembered | KickoffCompleted
        if kind == "kickoff":
            body = self._kickoff(number)
        else:
            key = f"gauge {self._dice(number, 'key').randrange(20)}" if kind == "keyed" else None
            body = MemoryRemembered(content=self._content(number), key=key)
        return Event(body=body, scope=self._scope(number), id=self._id(number))

    def _kickoff(self, number: int) -> KickoffCompleted:
        dice = self._dice(number, "kickoff")
        tasks = [
            TaskOutput(
                index=index,
                key=f"k{index}",
                agent_role="Observer",
                raw=f"Key findings at tide{dice.randrange(TIDES)}: {self._content(number, piece=f't{index}')}",
            )
            for index in range(dice.randrange(1, 4))
        ]
        return KickoffCompleted(tasks=tasks, raw=tasks[-1].raw, crew="watch", crew_key="watch", execution_id=self._id(number))

    def _content(self, number: int, piece: str = "") -> str:
        return content_of(f"{self.name}n{number}{piece}", self._scope(number))

    def _scope(self, number: int) -> Scope:
        return Scope.of(self.tenant, session_name(self._dice(number, "session").randrange(SESSIONS)))

    def _id(self, number: int) -> str:
        return f"chaos-{self.seed}-{self.name}-{number:07d}"

    def _kind(self, number: int) -> str:
        return self._dice(number, "kind").choices(list(KINDS), weights=list(KINDS.values()))[0]

    def _dice(self, number: int, what: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.publisher}/{number}/{what}")


def content_of(tag: str, scope: Scope) -> str:
    """Says whose it is, and shares no telling word with any other."""
    return f"Gauge{tag}a of tenant {scope.tenant} session {scope.session} shows dial{tag}b as mark{tag}c near post{tag}d."


def tags(content: str) -> set[str]:
    """The tags that a content holds."""
    return {tag.decode() for tag in TAG.findall(content.encode())}


def owner_of(content: str) -> tuple[str, str] | None:
    """(tenant, session) that a content names; None for what this workload did not write."""
    found = _OWNER.search(content)
    return (found[1], found[2]) if found else None
