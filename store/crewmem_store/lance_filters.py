"""The conditions and values of LanceDB reads and updates.

Values from outside enter only as `lit(...)`, which quotes them itself. LanceDB's expressions have no null test, so one
that needs it is rendered (`to_sql`) and joined with a fixed text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lancedb.expr import Expr, col, lit

from crewmem_store import effects
from crewmem_store.rows import Outcome
from crewmem_store.store import Summary
from crewmem_store.updates import Erase, Extend, Forget, NamedUpdate, Supersede, SupersedeFailures, SupersedeKey

_HAS_TEXT = "text IS NOT NULL"
_CURRENT = "superseded_at IS NULL"
_FORGOTTEN: dict[str, Any] = dict.fromkeys(("text", "content", "summary", "vector", "source_hash", "key", "metadata"))
_ERASED: dict[str, Any] = _FORGOTTEN | dict.fromkeys(("crew", "agent_role", "task_key", "parent")) | {"kind": "note"}


def equal(column: str, value: str | int) -> Expr:
    return col(column) == lit(value)


def one_of(column: str, values: Collection[str]) -> Expr:
    return col(column).isin([lit(value) for value in sorted(values)])


def any_of(conditions: Sequence[Expr]) -> Expr:
    """At least one condition, of one or more; as a balanced tree, since SQL that is nested deeper than fifty is refused."""
    half = len(conditions) // 2
    return any_of(conditions[:half]) | any_of(conditions[half:]) if half else conditions[0]


def of_tenant(tenant: str) -> Expr:
    """Scopes of the tenant, as a range that the index on `scope` answers."""
    return (col("scope") >= lit(f"{tenant}/")) & (col("scope") < lit(f"{tenant}0"))  # "0" follows "/"


def of_offsets(start: int, end: int) -> Expr:
    """From `start` to `end`, that one left out."""
    return (col("offset") >= lit(start)) & (col("offset") < lit(end))


def markers() -> Expr:
    """The rows that `effects.is_marker` names."""
    return equal("kind", effects.MARKER_KIND) & equal("outcome", Outcome.FORGOTTEN.value) & equal("span", effects.MARKER_SPAN)


def with_text(condition: Expr) -> str:
    return _all(condition, _HAS_TEXT)


def with_text_or_marker(condition: Expr) -> str:
    return _all(condition, f"({_HAS_TEXT} OR {markers().to_sql()})")


def not_summarised_by(summariser: str) -> str:
    return f"{_HAS_TEXT} AND (summariser IS NULL OR {(col('summariser') != lit(summariser)).to_sql()})"


def changes(update: NamedUpdate) -> tuple[str, dict[str, Any]]:
    """The `where` of the update, evaluated at commit, and the columns that it sets: `effects.apply` in SQL."""
    match update:
        case SupersedeKey() | SupersedeFailures():
            return _all(_superseded(update), _HAS_TEXT, _CURRENT), {"superseded_at": _utc(update.at)}
        case Extend():
            value = None if update.expires_at is None else _utc(update.expires_at)
            return _all(_extended(update), "expires_at IS NOT NULL", _HAS_TEXT), {"expires_at": value}
        case Forget():
            return one_of("id", update.ids).to_sql(), _FORGOTTEN
        case Erase():
            rows = equal("scope", update.scope) & _before(update.before_offset) & ~markers()
            return rows.to_sql(), _ERASED | {"scope": effects.record_key(update.scope)}


def superseding(updates: Sequence[Supersede]) -> tuple[str, dict[str, str]]:
    """Several of them as one: the `where`, and the column's value in SQL, which is that of the first that touches the row.

    Lance has no CASE: a condition is 1 or 0, and 0 counts as none. `scope` stands alone so that its index is used.
    """
    rows = one_of("scope", {update.scope for update in updates}) & any_of([_superseded(update) for update in updates])
    return _all(rows, _HAS_TEXT, _CURRENT), {"superseded_at": _first_of((_superseded(one), one.at) for one in updates)}


def extending(updates: Sequence[Extend]) -> tuple[str, dict[str, str]]:
    """The same for several that extend a row each, to a time or for ever."""
    rows = any_of([_extended(update) for update in updates])
    times = _first_of((_extended(update), update.expires_at) for update in updates)
    return _all(rows, "expires_at IS NOT NULL", _HAS_TEXT), {"expires_at": times}


def summary_change(summary: Summary) -> tuple[str, dict[str, Any]]:
    """The same for an LLM summary. (Lance has no CASE, so each row has its own update.)"""
    return with_text(equal("id", summary.id)), {"summary": summary.summary, "summariser": summary.summariser}


def _first_of(times: Iterable[tuple[Expr, datetime | None]]) -> str:
    """The time whose condition holds, the first of several; null where none has one."""
    known = [(condition.to_sql(), _microseconds(time)) for condition, time in times if time is not None]
    values = [f"nullif(cast({condition} as bigint), 0) * {time}" for condition, time in known]
    return f"to_timestamp_micros(coalesce({', '.join([*values, 'cast(null as bigint)'])}))"


def _extended(update: Extend) -> Expr:
    rows = equal("id", update.id) & _before(update.before_offset)
    return rows if update.expires_at is None else rows & (col("expires_at") < lit(_utc(update.expires_at)))


def _superseded(update: Supersede) -> Expr:
    rows = equal("scope", update.scope) & _before(update.before_offset)
    if isinstance(update, SupersedeKey):
        return rows & equal("key", update.key)
    return rows & equal("kind", "failure") & equal("task_key", update.task_key)


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _before(offset: int) -> Expr:
    return col("offset") < lit(offset)


def _all(condition: Expr, *more: str) -> str:
    return " AND ".join((condition.to_sql(), *more))


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)
