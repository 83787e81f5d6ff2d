"""What a process knows of the registry: its values, kept by kind, so that asking for one kind costs what it gives."""

from __future__ import annotations

from collections.abc import Iterator

from crewmem_producers.registry import Value


class RegistryView:
    """A dictionary for each kind of key, which is the key up to its first `/`: there may be 100,000 data keys and three
    generations. One thread puts and removes; any thread reads meanwhile."""

    def __init__(self) -> None:
        self._kinds: dict[str, dict[str, Value]] = {}

    def get(self, key: str) -> Value | None:
        return self._kinds.get(_kind(key), {}).get(key)

    def items(self, prefix: str) -> dict[str, Value]:
        """See `Registry.items`. What is given is a copy, which later changes do not touch."""
        found: dict[str, Value] = {}
        for kind in self._kinds_of(prefix):
            values = self._kinds[kind].copy()
            if not kind.startswith(prefix):
                values = {key: value for key, value in values.items() if key.startswith(prefix)}
            found.update(values)
        return found

    def put(self, key: str, value: Value) -> None:
        """A new key stands behind the others of its kind, one that is there keeps its place."""
        self._kinds.setdefault(_kind(key), {})[key] = value

    def remove(self, key: str) -> None:
        """Does nothing where there is no such key."""
        self._kinds.get(_kind(key), {}).pop(key, None)

    def _kinds_of(self, prefix: str) -> Iterator[str]:
        """The kinds that can hold keys of that prefix: one, unless the prefix has no `/`."""
        if "/" in prefix:
            return iter([kind] if (kind := _kind(prefix)) in self._kinds else [])
        return iter([kind for kind in list(self._kinds) if kind.startswith(prefix)])


def _kind(key: str) -> str:
    kind, slash, _ = key.partition("/")
    return kind + slash
