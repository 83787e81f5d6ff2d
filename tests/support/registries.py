"""A registry in a dictionary, for tests of what works on one."""

from __future__ import annotations

import asyncio

from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.registry import Value


class DictRegistry:
    """As the contract says. Two that share `truth` are two processes' views of one; `away` makes it unavailable."""

    def __init__(self, truth: dict[str, Value] | None = None) -> None:
        self.truth: dict[str, Value] = {} if truth is None else truth
        self.view: dict[str, Value] = dict(self.truth)
        self.away = False
        self.refreshed = 0

    async def start(self) -> None:
        await self.refresh()

    async def put(self, key: str, value: Value) -> None:
        self._answer()
        self.truth[key] = dict(value)
        await self.refresh()

    async def refresh(self) -> None:
        self._answer()
        self.refreshed += 1
        await asyncio.sleep(0)
        self.view = dict(self.truth)

    def get(self, key: str) -> Value | None:
        return self.view.get(key)

    def items(self, prefix: str) -> dict[str, Value]:
        return {key: value for key, value in self.view.items() if key.startswith(prefix)}

    async def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.away:
            raise RegistryUnavailable("the registry is away")
