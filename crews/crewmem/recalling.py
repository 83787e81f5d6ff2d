"""What a recall asks of the service, and what is said of an answer that is not up to date."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from crewmem_producers.compat import Unpack
from crewmem_producers.limits import QUERY_CHARACTERS

from crewmem.errors import RequestRefused

logger = logging.getLogger("crewmem")


class RecallArguments(TypedDict, total=False):
    """What may be asked beside query and session, as `Memstore.recall` says; None leaves it to the service."""

    top_k: int | None
    threshold: float | None
    after: str | None
    wait_seconds: float | None
    as_of: datetime | None
    since: datetime | None
    until: datetime | None
    crew: str | None
    agent_role: str | None
    kind: str | None
    metadata: Mapping[str, Any] | None
    source: str | None
    include_private: bool | None
    strict: bool | None
    explain: bool | None


class ListArguments(TypedDict, total=False):
    """What may be asked of a list beside its session, as `Memstore.list` says."""

    limit: int | None
    offset: int | None
    source: str | None
    include_private: bool | None


def recall_request(query: str, sessions: Sequence[str], **fields: Unpack[RecallArguments]) -> dict[str, Any]:
    """The body of `POST /v1/memory/recall`. Raises RequestRefused for an empty query or a too long one."""
    if not isinstance(query, str) or not query.strip():
        raise RequestRefused("the query is empty: say what to recall")
    if len(query) > QUERY_CHARACTERS:
        raise RequestRefused(f"the query has {len(query):,} characters; at most {QUERY_CHARACTERS:,} are searched: cut it")
    asked: dict[str, Any] = {"q": query, "session": list(sessions), **fields}
    return {name: _json(value) for name, value in asked.items() if value is not None}


def warn_if_behind(answer: Mapping[str, Any], where: str) -> None:
    """Warns when the service did not reach what it should have waited for."""
    if answer.get("fresh") is False:
        logger.warning("memory is behind the log: the newest may be missing %s", where)


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value
