"""The conditions and values of LanceDB reads and updates, as SQL.

A value from outside enters through `text` alone. LanceDB's own expressions are of no use here: they have no null test, and
`Expr.to_sql()` of LanceDB 0.40, which every update goes through, leaves a `'` behind a backslash as it is, takes `''` for
one that was doubled already, and writes a time so that it has to fit into nanoseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from crewmem_producers.names import record_key

from crewmem_store import effects
from crewmem_store.rows import Outcome
from crewmem_store.store import Summary
from crewmem_store.updates import Erase, Extend, Forget, Supersede, SupersedeKey

EVERY_ROW = "true"
_HAS_TEXT = "text IS NOT NULL"
_CURRENT = "superseded_at IS NULL"
_MAY_EXPIRE = "expires_at IS NOT NULL"
_FORGOTTEN: dict[str, Any] = dict.fromkeys(
    ("text", "content", "summary", "vector", "source_hash", "key", "metadata", "checksum")
)
_ERASED: dict[str, Any] = _FORGOTTEN | dict.fromkeys(("crew", "agent_role", "task_key", "parent")) | {"kind": "note"}


def text(value: str) -> str:
    """The value as an SQL string. Only `'` means something in one, also behind a backslash, and is doubled."""
    return "'" + value.replace("'", "''") + "'"


def equal(column: str, value: str | int) -> str:
    """The column has that value."""
    return f"`{column}` = {text(value) if isinstance(value, str) else value}"


def one_of(column: str, values: Collection[str]) -> str:
    """The column has one of the values; with no values, no row matches."""
    return f"`{column}` IN ({', '.join(map(text, sorted(values)))})" if values else "false"


def all_of(*conditions: str) -> str:
    """Every condition, of one or more."""
    return f"({' AND '.join(conditions)})"


def any_of(conditions: Sequence[str]) -> str:
    """At least one condition, of one or more; as a balanced tree, since SQL that is nested deeper than fifty is refused."""
    half = len(conditions) // 2
    return f"({any_of(conditions[:half])} OR {any_of(conditions[half:])})" if half else conditions[0]


def of_tenant(tenant: str) -> str:
    """Scopes of the tenant, as a range that the index on `scope` answers."""
    return _under("scope", tenant)


def events_of_tenant(tenant: str) -> str:
    """Ledger rows of the tenant's events."""
    return _under("scope_key", tenant)


def _under(column: str, tenant: str) -> str:
    return all_of(f"{column} >= {text(f'{tenant}/')}", f"{column} < {text(f'{tenant}0')}")  # "0" follows "/"


def before(offset: int) -> str:
    """The row's offset is smaller."""
    return f"`offset` < {offset}"


def from_offset(offset: int) -> str:
    """The row's offset is this one, or larger."""
    return f"`offset` >= {offset}"


def of_offsets(start: int, end: int) -> str:
    """From `start` to `end`, that one left out."""
    return all_of(from_offset(start), before(end))


def markers() -> str:
    """The rows that `effects.is_marker` names."""
    return all_of(
        equal("kind", effects.MARKER_KIND), equal("outcome", Outcome.FORGOTTEN.value), equal("span", effects.MARKER_SPAN)
    )  # fmt: skip


def unpurged_markers() -> str:
    """Those of erasures that `effects.PURGED` is not noted in yet."""
    return all_of(markers(), "summary IS NULL")


def with_text(condition: str) -> str:
    """Those of the rows that have text."""
    return all_of(condition, _HAS_TEXT)


def with_text_or_marker(condition: str) -> str:
    """Those of the rows that have text, or say that a session was erased."""
    return all_of(condition, any_of([_HAS_TEXT, markers()]))


def not_summarised_by(summariser: str) -> str:
    """Rows with text whose summary is not of this summariser."""
    return with_text(any_of(["summariser IS NULL", f"summariser <> {text(summariser)}"]))


def changes(update: Forget | Erase) -> tuple[str, dict[str, Any]]:
    """The `where` of the update, evaluated at commit, and the columns that it sets: `effects.apply` in SQL."""
    match update:
        case Forget():
            return one_of("id", update.ids), _FORGOTTEN
        case Erase():
            rows = all_of(equal("scope", update.scope), before(update.before_offset), f"NOT {markers()}")
            return rows, _ERASED | {"scope": record_key(update.scope)}


def superseding(updates: Sequence[Supersede]) -> tuple[str, dict[str, str]]:
    """Several supersedes as one update: each row gets the time of the first that matches it.

    The `where`, and the column's value in SQL. `scope` stands alone so that its index is used.
    """
    scopes = one_of("scope", {update.scope for update in updates})
    rows = all_of(scopes, any_of([_superseded(update) for update in updates]), _HAS_TEXT, _CURRENT)
    return rows, {"superseded_at": _first_of((_superseded(one), one.at) for one in updates)}


def extending(updates: Sequence[Extend]) -> tuple[str, dict[str, str]]:
    """Several extensions as one update: each row is extended by one of them at most, to a time or for ever."""
    rows = all_of(any_of([_extended(update) for update in updates]), _MAY_EXPIRE, _HAS_TEXT)
    return rows, {"expires_at": _first_of((_extended(update), update.expires_at) for update in updates)}


def summary_change(summary: Summary) -> tuple[str, dict[str, Any]]:
    """The `where` and the columns of an LLM summary: each has an update of its own."""
    return with_text(equal("id", summary.id)), {"summary": summary.summary, "summariser": summary.summariser}


def _first_of(times: Iterable[tuple[str, datetime | None]]) -> str:
    """The time whose condition holds, the first of several; null where none has one.

    Lance has no CASE: a condition is 1 or 0, and 0 counts as none.
    """
    known = [(condition, _microseconds(time)) for condition, time in times if time is not None]
    values = [f"nullif(cast({condition} as bigint), 0) * {time}" for condition, time in known]
    return f"to_timestamp_micros(coalesce({', '.join([*values, 'cast(null as bigint)'])}))"


def _extended(update: Extend) -> str:
    rows = [equal("id", update.id), before(update.before_offset)]
    if update.expires_at is not None:
        rows.append(f"expires_at < to_timestamp_micros({_microseconds(update.expires_at)})")
    return all_of(*rows)


def _superseded(update: Supersede) -> str:
    rows = [equal("scope", update.scope), before(update.before_offset)]
    if isinstance(update, SupersedeKey):
        return all_of(*rows, equal("key", update.key))
    return all_of(*rows, equal("kind", "failure"), equal("task_key", update.task_key))


def _microseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
