"""A memory of the service as CrewAI's `MemoryRecord`: its scope, categories and source lie in the memory's metadata.

Anyone who may write into the session chooses the metadata. A value of another type than CrewAI's is therefore taken as metadata
like any other, never as a scope, a category or a source: one row must not cost a session its recalls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from crewai.memory.types import MemoryRecord, ScopeInfo
from crewai.memory.utils import normalize_scope_path
from crewmem_producers.compat import UTC, iso_time
from crewmem_producers.display import display_text
from crewmem_producers.privacy import PRIVATE, SOURCE, is_private

ROOT = "/"
SCOPE, CATEGORIES = "scope", "categories"
"""Metadata in which CrewAI's scope paths and categories are kept."""
DEFAULT_IMPORTANCE = 0.5

_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def metadata_of(
    metadata: Mapping[str, Any] | None,
    *,
    scope: str,
    categories: Iterable[str] | None,
    source: str | None,
    private: bool = False,
) -> dict[str, Any]:
    """Return what is kept of a record beside its content."""
    kept = dict(metadata or {})
    if source:
        kept[SOURCE] = source
    if private:
        kept[PRIVATE] = True
    if scope != ROOT:
        kept[SCOPE] = scope
    if categories:
        kept[CATEGORIES] = list(categories)
    return kept


def key_of(content: str, *, scope: str, source: str | None) -> str | None:
    """Return the key under which a memory is kept, so that the same text in another scope or of another source is another one.

    None for the root scope and no source: there, texts that say the same become one memory. The key is letters, which redaction
    takes for no secret.
    """
    if scope == ROOT and not source:
        return None
    digest = hashlib.sha256("\0".join((scope, source or "", content)).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    letters = digest.translate(_LETTERS)
    return "crewai " + " ".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def record_of(memory: Mapping[str, Any]) -> MemoryRecord:
    """Return the record of a memory as the service shows it."""
    metadata = dict(memory["metadata"]) if isinstance(memory.get("metadata"), Mapping) else {}
    scope, source = metadata.get(SCOPE), metadata.get(SOURCE)
    categories = metadata.get(CATEGORIES)
    created = _time(memory.get("created_at"))
    return MemoryRecord(
        id=str(memory["id"]),
        content=display_text(str(memory.get("content") or "")),  # CrewAI puts it into prompts
        scope=normalize_scope_path(scope) if isinstance(scope, str) else ROOT,
        categories=[name for name in categories if isinstance(name, str)] if isinstance(categories, list) else [],
        metadata=metadata,
        importance=_importance(memory.get("importance")),
        created_at=created,
        last_accessed=created,
        source=source if isinstance(source, str) else None,
        private=is_private(metadata),
    )


def within(record: MemoryRecord, scope: str, categories: Iterable[str] | None = None) -> bool:
    """Return whether a record lies in the scope or below it, and has one of the categories, if any are given."""
    inside = scope == ROOT or record.scope == scope or record.scope.startswith(scope + "/")
    return inside and (not categories or not set(categories).isdisjoint(record.categories))


def child_scopes(records: Iterable[MemoryRecord], path: str) -> list[str]:
    """Return the paths right below `path` that hold records, sorted."""
    prefix = path.rstrip("/") + "/"
    below = (record.scope[len(prefix) :] for record in records if record.scope.startswith(prefix))
    return sorted({prefix + rest.partition("/")[0] for rest in below if rest})


def count_categories(records: Iterable[MemoryRecord]) -> dict[str, int]:
    """Return how many records have each category."""
    counts: dict[str, int] = {}
    for record in records:
        for name in record.categories:
            counts[name] = counts.get(name, 0) + 1
    return counts


def scope_info(records: list[MemoryRecord], path: str) -> ScopeInfo:
    """Return what CrewAI says of a scope that holds these records."""
    times = [record.created_at for record in records]
    return ScopeInfo(
        path=path,
        record_count=len(records),
        categories=sorted(count_categories(records)),
        oldest_record=min(times, default=None),
        newest_record=max(times, default=None),
        child_scopes=child_scopes(records, path),
    )


def tree_of(records: list[MemoryRecord], path: str, max_depth: int) -> str:
    """Return the scopes from `path` down as indented lines, `max_depth` levels below it at most."""
    lines = [f"{path} ({len(records)} records)"]
    if max_depth > 0:
        for child in child_scopes(records, path):
            below = tree_of([record for record in records if within(record, child)], child, max_depth - 1)
            lines += [f"  {line}" for line in below.splitlines()]
    return "\n".join(lines)


def _time(value: object) -> datetime:
    try:
        return iso_time(str(value)).astimezone(UTC)
    except ValueError:  # a 202 has no time yet
        return datetime.now(UTC)


def _importance(value: object) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
    return float(value) if known else DEFAULT_IMPORTANCE  # type: ignore[arg-type]
