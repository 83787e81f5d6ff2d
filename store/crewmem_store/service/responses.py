"""What the calls answer, for the OpenAPI document: what stands under a field is what `/docs` says of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from crewmem_store.accounting import PartitionAccount

Documented = dict[int | str, dict[str, Any]]
"""HTTP status -> what FastAPI documents of it."""


class _Response(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Problem(_Response):
    """The one shape of every error."""

    error: str
    """A code that a program can tell errors apart by."""
    message: str
    """What is wrong and what to do, for a person."""


class Remembered(_Response):
    """A memory that can be recalled."""

    id: str
    """The memory's id; of a repeat that of the memory which was there before."""
    content: str
    """What is remembered; a secret in it is replaced by `[redacted: ...]`."""
    session: str
    """The session's normalised name."""
    metadata: dict[str, Any]
    """As it was given; empty if it was not."""
    created_at: datetime
    """When it happened, RFC 3339 in UTC."""
    duplicate: bool = False
    """There, and true, when this repeats a memory that is known already."""


class Accepted(_Response):
    """Durable on the log, and not recallable yet."""

    id: str
    """The id that the memory will have, unless it repeats another one or is forgotten first."""
    token: str
    """Hand it to a recall as `after`: then the answer has it."""
    session: str
    """The session's normalised name."""


class KeyName(_Response):
    """An API key, as far as others may know it."""

    key: str
    """The first 12 hex digits of its SHA-256."""
    name: str
    """Its name, at most 60 characters."""


class Memory(_Response):
    """One memory."""

    id: str
    """Partition of the log, `-`, and 32 hex digits."""
    content: str
    """All of it, with secrets taken out."""
    session: str
    """The session that it belongs to."""
    metadata: dict[str, Any]
    """What was given with it; empty if nothing was."""
    created_at: datetime
    """When it happened, RFC 3339 in UTC."""
    expires_at: datetime | None
    """When recall forgets it; null: never."""
    superseded_at: datetime | None
    """Since when something later has taken its place; null: nothing has."""
    kind: str
    """`note`, or what a rule or the caller calls it: `finding`, `preference`, `data`, `completed`, `failure`."""
    text: str
    """What is embedded and searched: who said it, when, and the content or the best sentences of a long one."""
    summary: str | None
    """What a language model made of it; null where none is set up, or has not come to it yet."""
    crew: str | None
    """The crew whose output it is."""
    agent_role: str | None
    """The role of the agent whose output it is."""
    parent: str | None
    """What it belongs to, such as the run of a crew."""
    key: str | None
    """What it is about: a later memory with this key takes its place."""
    importance: float
    """0 to 1; 0.5 unless it was given."""
    event_id: str
    """The event that it was made from; `forget` takes it too."""
    span: str
    """Which piece of that event it is."""
    writer: KeyName | None
    """The API key that wrote the event; null where none did, as for a program that writes to Apache Kafka itself."""


class RecalledMemory(Memory):
    """A memory that answers a question."""

    score: float
    """The cosine of question and memory, 0 to 1; higher is nearer."""
    explain: dict[str, float] | None = None
    """With `explain`: each signal with its weight applied, and `rank`, their sum, which the order comes from."""


class RecallAnswer(_Response):
    """The memories that answer a question, best first."""

    memories: list[RecalledMemory]
    """With `format=context` only those that are in the block."""
    count: int
    """How many these are."""
    query: str
    """The question."""
    fresh: bool | None = None
    """With `after`: whether the answer holds what it stands for."""
    context: str | None = None
    """With `format=context`: the memories as one block of text; empty when nothing is found or fits."""
    tokens: int | None = None
    """With `format=context`: the block's length, in tokens of the embedder."""


class ListAnswer(_Response):
    """A page of memories, the newest first."""

    memories: list[Memory]
    """At most `limit`, from `offset` on."""
    total: int
    """How many there are on all pages."""


class Forgotten(_Response):
    """What became of a forget."""

    deleted: bool
    """True once nothing of it can be recalled; false (202) while that is still to come."""
    id: str
    """As it was asked for."""
    token: str | None = None
    """With 202: hand it to a recall as `after`, then the answer is without it."""


class EventResult(_Response):
    """What became of one event of a batch."""

    id: str | None
    """The event's id; null when it has none."""
    status: str
    """`accepted`: the log has acknowledged it. `refused`: repeating it will not help."""
    token: str | None = None
    """Of an accepted one: hand it to a recall as `after`."""
    error: str | None = None
    """Of a refused one: a code, `: `, and why."""


class EventsAnswer(_Response):
    """What became of each event of a batch."""

    results: list[EventResult]
    """One for each event, in their order."""


class GenerationAccount(_Response):
    """The account of one generation of the memory."""

    generation: str
    """Its name."""
    active: bool
    """Whether it is the one that answers."""
    closes: bool
    """Whether the account of every partition closes."""
    partitions: list[PartitionAccount]
    """By number."""


class AccountingAnswer(_Response):
    """The account of the generation that answers, and of each one that lives."""

    generation: str
    """The name of the one that answers."""
    closes: bool
    """Whether its account closes."""
    partitions: list[PartitionAccount]
    """Its partitions, by number."""
    generations: list[GenerationAccount]
    """Every one that lives, oldest first."""


class TenantGeneration(_Response):
    """What one generation made of a tenant's events."""

    generation: str
    """Its name."""
    active: bool
    """Whether it is the one that answers."""
    closes: bool
    """Whether the account of the whole deployment closes in it."""
    tenant: str
    """The key's."""
    processed: int
    """The tenant's events that have an outcome."""
    outcomes: dict[str, int]
    """How many of them have which."""


class TenantAccounting(_Response):
    """What a key with `admin` and without `operator` sees: the account of its tenant."""

    generation: str
    """The name of the generation that answers."""
    closes: bool
    """Whether the account of the whole deployment closes."""
    tenant: str
    """The key's."""
    processed: int
    """The tenant's events that have an outcome. Records that could never be read are of no tenant."""
    outcomes: dict[str, int]
    """How many of them have which."""
    generations: list[TenantGeneration]
    """Every generation that lives, oldest first."""


class Live(_Response):
    """The process answers."""

    status: str
    """`live`."""


class Ready(_Response):
    """Recalls can be answered."""

    status: str
    """`ready`."""
    checks: dict[str, str]
    """`log` and `store`: `ok`, or of the store what is damaged.
    `embedder of <generation>`: why a generation that does not answer now could not."""
    stalled: list[int]
    """Partitions where records wait and nothing has moved for 300 seconds: recalls are answered, and miss what is new there."""
    damaged: list[int]
    """Partitions of which files of the store are gone: recalls of sessions that lie there are refused with 503."""
    topics: list[str]
    """Settings of Kafka's topics by which memory will be lost, each with the command that changes it."""


class NotReady(Problem):
    """Recalls cannot be answered."""

    status: str
    """`not ready`."""
    checks: dict[str, str]
    """`log` and `store`: `ok`, or what is wrong."""


_MEANING = {
    400: "`invalid_content`, `content_too_long`, `missing_query`, `invalid_request`: the message names the field",
    401: "`missing_api_key`, `invalid_api_key`: unknown, expired or revoked",
    403: "`forbidden_right`, `forbidden_session`",
    404: "`not_found`: nothing of this id can be forgotten with this key",
    405: "`method_not_allowed`: this path has other methods",
    413: "`too_large`: the body, or the number of events in it",
    429: "`rate_limited`, with Retry-After: only where a limit is set",
    500: "`internal`: a fault of the service; its log says more",
    503: "`unavailable`, with Retry-After: log, store or registry is away, or nothing has been consumed yet",
    504: "`not_fresh`: the view does not hold in time what was asked for",
}


def errors(*own: int) -> Documented:
    """The errors of a call under /v1/: those of every call, and its own."""
    return {
        status: {"model": Problem, "description": _MEANING[status]}
        for status in sorted({401, 403, 405, 413, 429, 500, 503, *own})
    }  # fmt: skip
