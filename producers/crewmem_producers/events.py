"""The event types: what a crew, a person or an operator says happened.

Bodies keep unknown fields. `schema_version` rises only when an older consumer would misread a body. Each field has its limit
(see `limits`); those of what a kickoff puts out are of the body as a whole, so that a publisher can cut it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from uuid6 import uuid7

from crewmem_producers import limits
from crewmem_producers.compat import UTC
from crewmem_producers.field_types import EventLabel, EventMetadata, EventName, Kind, TokenUsage
from crewmem_producers.names import Scope

SCHEMA_VERSION = 1
"""The newest body version that this program writes and reads."""


def new_event_id() -> str:
    """A new `ce_id`: a UUIDv7, so that ids sort by time."""
    return str(uuid7())


def utc_now() -> datetime:
    """The wall clock, aware. Nothing that decides what is remembered reads it."""
    return datetime.now(UTC)


EventId = Annotated[str, Field(max_length=limits.EVENT_ID_CHARACTERS)]
SpanName = Annotated[str, Field(max_length=limits.SPAN_CHARACTERS)]


class Body(BaseModel):
    """What every body has. `tenant` and `session` are set by whoever publishes; control events may have neither."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)
    type: ClassVar[str]

    schema_version: int = SCHEMA_VERSION
    tenant: str | None = None
    session: str | None = None
    execution_id: EventName | None = None
    parent: EventName | None = None


class TaskOutput(BaseModel):
    """One task's output. Its identity across runs is (crew_key, task key)."""

    model_config = ConfigDict(extra="allow")
    index: int
    key: EventLabel = ""
    name: EventLabel | None = None
    agent_role: EventLabel | None = None
    raw: str = ""
    json_: Any = Field(default=None, alias="json")


class Recalled(BaseModel):
    """A memory that was recalled into a kickoff: what its echo is compared with."""

    model_config = ConfigDict(extra="allow")
    event_id: EventId
    span: SpanName
    session: EventName
    text: Annotated[str, Field(max_length=limits.RECALLED_CHARACTERS)]


class KickoffCompleted(Body):
    """`crewmem.kickoff.completed`"""

    type: ClassVar[str] = "crewmem.kickoff.completed"
    crew: EventLabel | None = None
    crew_key: EventLabel = ""
    inputs: dict[str, Any] = {}
    raw: str = ""
    json_: Any = Field(default=None, alias="json")
    tasks: list[TaskOutput] = []
    token_usage: TokenUsage | None = None
    recalled: Annotated[list[Recalled], Field(max_length=limits.RECALLED)] = []
    truncated: bool = False


class KickoffError(BaseModel):
    """What ended a kickoff: the exception's type and message, and `index` of the task in whose course it was raised."""

    model_config = ConfigDict(extra="allow")
    type: EventLabel
    message: Annotated[str, Field(max_length=limits.ERROR_CHARACTERS)]
    task_index: int | None = None


class KickoffFailed(KickoffCompleted):
    """`crewmem.kickoff.failed`: the tasks that were done, and what went wrong."""

    type: ClassVar[str] = "crewmem.kickoff.failed"
    error: KickoffError


class MemoryRemembered(Body):
    """`crewmem.memory.remembered`: an explicit memory. `ttl` in seconds from the event's time; `importance` 0 to 1."""

    type: ClassVar[str] = "crewmem.memory.remembered"
    content: Annotated[str, Field(min_length=1, max_length=limits.CONTENT_CHARACTERS)]
    metadata: EventMetadata = {}
    ttl: Annotated[float, Field(gt=0, le=limits.TTL_SECONDS, allow_inf_nan=False)] | None = None
    key: EventName | None = None
    importance: Annotated[float, Field(ge=0, le=1)] = 0.5
    kind: Kind = "note"
    speaker: EventName | None = None
    agent_role: EventLabel | None = None
    crew: EventLabel | None = None


class SpanRef(BaseModel):
    """Names a memory: a span of an event of the same session."""

    event_id: EventId
    span: SpanName


class MemoryForgotten(Body):
    """`crewmem.memory.forgotten`: the memory's span and those of every event counted as its duplicate."""

    type: ClassVar[str] = "crewmem.memory.forgotten"
    spans: Annotated[list[SpanRef], Field(min_length=1, max_length=limits.FORGOTTEN_SPANS)]


class SessionForgotten(Body):
    """`crewmem.session.forgotten`: everything of the session before this position, and what happened before it and comes
    later. Its record's key says which session; the body need not name it, so that no name stays on the log. `erased_keys`
    are ids of data keys, which stay erased also where their bytes come back."""

    type: ClassVar[str] = "crewmem.session.forgotten"
    erased_keys: list[str] = []


class PositionRef(BaseModel):
    """A place on the log."""

    partition: int
    offset: int


class EventRedriven(Body):
    """`crewmem.event.redriven`: a dead letter was put on the log again."""

    type: ClassVar[str] = "crewmem.event.redriven"
    position: PositionRef
    event_id: EventId | None = None


class EventDiscarded(Body):
    """`crewmem.event.discarded`: an operator decided that a dead letter is of no use."""

    type: ClassVar[str] = "crewmem.event.discarded"
    position: PositionRef
    event_id: EventId | None = None


class RulesApplied(Body):
    """`crewmem.rules.applied`: from this position of its partition on, these rules decide. `rules` is the file's text."""

    type: ClassVar[str] = "crewmem.rules.applied"
    rules: Annotated[str, Field(max_length=limits.RULES_CHARACTERS)]
    sha256: EventName


KickoffBody = KickoffCompleted | KickoffFailed
SESSION_BODIES: tuple[type[Body], ...] = (
    KickoffCompleted, KickoffFailed, MemoryRemembered, MemoryForgotten, SessionForgotten,
)  # fmt: skip
CONTROL_BODIES: tuple[type[Body], ...] = (EventRedriven, EventDiscarded, RulesApplied)
BODIES: dict[str, type[Body]] = {body.type: body for body in SESSION_BODIES + CONTROL_BODIES}
FORGETS = frozenset({MemoryForgotten.type, SessionForgotten.type})
"""What takes memories away."""
LATER_FACTS = frozenset({EventRedriven.type, EventDiscarded.type})
"""What is said of a dead letter afterwards."""
PUBLISHABLE = frozenset({KickoffCompleted.type, KickoffFailed.type, MemoryRemembered.type})
"""What a program may publish, in an outbox or over `POST /v1/events`; the others are written by the service, by commands of
operators and by consumers, each where it belongs."""


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable happening. `time` is aware, UTC; `scope` is None for control events, for a `session.forgotten`
    that names its session by `record_key` alone, and for what `crewmem.Publisher` shall publish in the session around it.
    `writer` is the API key that wrote it (see `writer.of_key`), if one did."""

    body: Body
    scope: Scope | None = None
    id: str = field(default_factory=new_event_id)
    time: datetime = field(default_factory=utc_now)
    source: str = ""
    traceparent: str | None = None
    record_key: str | None = None
    writer: str | None = None

    @property
    def type(self) -> str:
        """Its `ce_type`."""
        return self.body.type

    @property
    def key(self) -> str | None:
        """The record key, or None for a control event."""
        return self.scope.key if self.scope else self.record_key
