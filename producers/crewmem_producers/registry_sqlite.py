"""The registry of one machine: a table of the SQLite file that also holds the log."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.following import FOLLOW_SECONDS, Follower
from crewmem_producers.registry import Value, check_passing
from crewmem_producers.registry_view import RegistryView
from crewmem_producers.sqlite import Database, transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS registry (
    namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, change INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX IF NOT EXISTS registry_changes ON registry (namespace, change)
"""

_PUT = """
INSERT INTO registry (namespace, key, value, change)
VALUES (:namespace, :key, :value, (SELECT coalesce(max(change), 0) + 1 FROM registry WHERE namespace = :namespace))
ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, change = excluded.change
WHERE json_extract(value, '$.erased') IS NULL OR json_extract(excluded.value, '$.erased') IS NOT NULL
"""
# A record that is removed is a null until the next one is: followers look for newer changes, and see no row that is gone. The
# row of the newest change stays in any case, or its number would be given again.
_REMOVE = """
UPDATE registry
SET value = 'null', change = (SELECT max(change) + 1 FROM registry WHERE namespace = :namespace)
WHERE namespace = :namespace AND key = :key AND value != 'null'
"""
_TIDY = """
DELETE FROM registry WHERE namespace = :namespace AND value = 'null'
AND change < (SELECT max(change) FROM registry WHERE namespace = :namespace)
"""
_CHANGES = "SELECT change, key, value FROM registry WHERE namespace = ? AND change > ? ORDER BY change"


class SqliteRegistry:
    """The registry of one namespace. Every write gets the next change number; a reader asks for those above its last."""

    def __init__(self, path: Path, *, namespace: str, follow_seconds: float = FOLLOW_SECONDS) -> None:
        self._namespace = namespace
        self._database = Database(path, schema=SCHEMA, unavailable=RegistryUnavailable)
        self._view = RegistryView()
        self._change = 0
        self._follower = Follower(self.refresh, seconds=follow_seconds)

    async def start(self) -> None:
        """Reads the whole registry and starts following it. Raises RegistryUnavailable, LogRefused for another file."""
        await self._database.open()
        try:
            await self.refresh()
        except BaseException:
            await self._database.close()
            raise
        self._follower.start()

    async def put(self, key: str, value: Value) -> None:
        """Writes durably; this process sees it at once. Raises RegistryUnavailable."""
        await self._write({"namespace": self._namespace, "key": key, "value": json.dumps(value)}, _PUT)

    async def remove(self, key: str) -> None:
        """Takes the record away. Raises RegistryUnavailable, ValueError for a key that is not PASSING."""
        check_passing(key)
        await self._write({"namespace": self._namespace, "key": key}, _REMOVE, _TIDY)

    async def refresh(self) -> None:
        """Returns once the local view holds everything that was written before. Raises RegistryUnavailable."""

        # Applied on the database's one thread: two that refresh at once cannot put an older value over a newer one.
        def catch_up(connection: sqlite3.Connection) -> None:
            for change, key, value in connection.execute(_CHANGES, (self._namespace, self._change)):
                self._apply(key, json.loads(value))
                self._change = change

        await self._database.run(catch_up)

    def get(self, key: str) -> Value | None:
        return self._view.get(key)

    def items(self, prefix: str) -> dict[str, Value]:
        return self._view.items(prefix)

    async def _write(self, row: Mapping[str, str], *statements: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                for statement in statements:
                    connection.execute(statement, row)

        await self._database.run(write)
        await self.refresh()

    def _apply(self, key: str, value: Value | None) -> None:
        if value is None:
            self._view.remove(key)
        else:
            self._view.put(key, value)

    async def close(self) -> None:
        """Stops following; safe to call twice."""
        await self._follower.stop()
        await self._database.close()
