"""A draft: one span on its way through the stages, each of which fills in what it finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crewmem_producers.display import display_name
from crewmem_producers.events import Event, KickoffCompleted, MemoryRemembered
from crewmem_store.rows import Vector

from crewmem_consumers.redaction import redact_name
from crewmem_consumers.rules import Decision
from crewmem_consumers.split import Span

if TYPE_CHECKING:
    from crewmem_consumers.echo import Compared


@dataclass(slots=True)
class Draft:
    """A span that the rules keep.

    prepare fills `metadata` (redacted), redact `content` and `source_hash`, echo.compare `compared`; echo.cut cuts `content`
    (None when nothing is left), summarise fills `extract` and `text`, embed fills `vector`.
    """

    event: Event
    span: Span
    decision: Decision
    content: str | None = None
    source_hash: str = ""
    extract: str = ""
    text: str = ""
    vector: Vector | None = None
    compared: Compared | None = None
    metadata: dict[str, Any] | None = None

    @property
    def agent_role(self) -> str | None:
        body = self.event.body
        if isinstance(body, MemoryRemembered):
            return redact_name(body.agent_role)
        return redact_name(self.span.task.agent_role if self.span.task else None)

    @property
    def crew(self) -> str | None:
        body = self.event.body
        return redact_name(body.crew) if isinstance(body, KickoffCompleted | MemoryRemembered) else None

    @property
    def task_key(self) -> str | None:
        """What makes a task the same across runs: the keys of crew and task. None where the task has no key."""
        body = self.event.body
        if not isinstance(body, KickoffCompleted) or self.span.task is None or not self.span.task.key:
            return None
        return redact_name(f"{body.crew_key}/{self.span.task.key}")

    @property
    def who(self) -> str | None:
        """Whom the text names: agent role, else speaker, else crew."""
        body = self.event.body
        speaker = redact_name(body.speaker) if isinstance(body, MemoryRemembered) else None
        return self.agent_role or speaker or self.crew

    @property
    def prefix(self) -> str:
        """What stands before the extract: `<who> (<YYYY-MM-DD>): `, the name as `display_name` shows it."""
        who = display_name(self.who)
        return f"{who}{' ' if who else ''}({self.event.time:%Y-%m-%d}): "
