"""The answers' shapes, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    error: str
    message: str


class Remembered(BaseModel):
    id: str
    content: str
    session: str
    metadata: dict[str, Any]
    created_at: datetime
    duplicate: bool = False


class Accepted(BaseModel):
    id: str
    token: str
    session: str


class Memory(BaseModel):
    id: str
    content: str
    session: str
    metadata: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None
    superseded_at: datetime | None
    kind: str
    text: str
    summary: str | None
    crew: str | None
    agent_role: str | None
    parent: str | None
    key: str | None
    importance: float
    event_id: str
    span: str


class RecalledMemory(Memory):
    score: float
    explain: dict[str, float] | None = None


class RecallAnswer(BaseModel):
    memories: list[RecalledMemory]
    count: int
    query: str
    fresh: bool | None = None
    context: str | None = None
    tokens: int | None = None


class ListAnswer(BaseModel):
    memories: list[Memory]
    total: int


class Forgotten(BaseModel):
    deleted: bool
    id: str
    token: str | None = None


class EventResult(BaseModel):
    id: str | None
    status: str
    token: str | None = None
    error: str | None = None


class EventsAnswer(BaseModel):
    results: list[EventResult]


class PartitionAccount(BaseModel):
    partition: int
    log_start: int
    log_end: int
    position: int
    processed: int
    outcomes: dict[str, int]
    lag: int
    oldest_unprocessed_seconds: float
    missing: int
    doubled: int
    lost: int
    beyond_log: int
    before_log: int
    dead_letters: dict[str, int]
    closes: bool


class GenerationAccount(BaseModel):
    generation: str
    active: bool
    closes: bool
    partitions: list[PartitionAccount]


class Account(BaseModel):
    generation: str
    closes: bool
    partitions: list[PartitionAccount]
    generations: list[GenerationAccount]


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 413, 429, 503)
}  # fmt: skip
NOT_FRESH: dict[int | str, dict[str, Any]] = {504: {"model": Problem}}
