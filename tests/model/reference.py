"""What should be recallable, in plain dictionaries: the meaning of the log, without tables, batches, owners or crashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

Session = str
Event = str


@dataclass
class Memory:
    """What can be recalled of one `remember`."""

    event: Event
    text: str
    key: str | None
    expires_at: datetime | None
    superseded_at: datetime | None = None

    def is_current(self, time: datetime) -> bool:
        return self.superseded_at is None and (self.expires_at is None or self.expires_at > time)


@dataclass
class Reference:
    """Reads the log's events one by one, in order, each once."""

    sessions: dict[Session, dict[Event, Memory]] = field(default_factory=dict)
    seen: set[tuple[Session, Event]] = field(default_factory=set)
    named: set[tuple[Session, Event]] = field(default_factory=set)
    """Events that a forget has named."""
    forgotten_at: dict[Session, datetime] = field(default_factory=dict)
    dropping: bool = False
    """Whether the rules in force drop what a kickoff says."""

    def remember(
        self, session: Session, event: Event, text: str, *, time: datetime, key: str | None = None,
        expires_at: datetime | None = None, explicit: bool = True,
    ) -> None:  # fmt: skip
        if self._again(session, event) or (self.dropping and not explicit):
            return
        if (session, event) in self.named or time <= self.forgotten_at.get(session, datetime.min.replace(tzinfo=time.tzinfo)):
            return
        memories = self.sessions.setdefault(session, {})
        same = [one for one in memories.values() if one.text == text and one.key == key and one.is_current(time)]
        if same:
            first = same[0]
            if first.expires_at is not None:
                first.expires_at = None if expires_at is None else max(first.expires_at, expires_at)
            return
        for one in memories.values():
            if key is not None and one.key == key and one.superseded_at is None:
                one.superseded_at = time
        memories[event] = Memory(event, text, key, expires_at)

    def forget(self, session: Session, event: Event, forgotten: Event) -> None:
        if not self._again(session, event):
            self.named.add((session, forgotten))
            self.sessions.get(session, {}).pop(forgotten, None)

    def forget_session(self, session: Session, event: Event, *, time: datetime) -> None:
        if not self._again(session, event):
            self.sessions.pop(session, None)
            self.forgotten_at[session] = max(time, self.forgotten_at.get(session, time))

    def apply_rules(self, *, dropping: bool) -> None:
        self.dropping = dropping

    def texts(self) -> dict[Session, dict[Event, tuple[str, datetime | None, datetime | None]]]:
        """Session -> event -> text, when it expires, when it was superseded."""
        return {
            session: {one.event: (one.text, one.expires_at, one.superseded_at) for one in memories.values()}
            for session, memories in self.sessions.items()
            if memories
        }

    def _again(self, session: Session, event: Event) -> bool:
        again = (session, event) in self.seen
        self.seen.add((session, event))
        return again
