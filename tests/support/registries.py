"""A registry in a dictionary, for tests of what works on one."""

from __future__ import annotations

import asyncio

from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.registry import Value, check_passing, is_final
from crewmem_producers.registry_view import RegistryView


class DictRegistry:
    """As the contract says. Two that share `truth` are two processes' views of one; `away` makes it unavailable."""

    def __init__(self, truth: dict[str, Value] | None = None) -> None:
        self.truth: dict[str, Value] = {} if truth is None else truth
        self.view = self._read()
        self.away = False
        self.refreshed = 0

    async def start(self) -> None:
        await self.refresh()

    async def put(self, key: str, value: Value) -> None:
        self._answer()
        if is_final(value) or not is_final(self.truth.get(key, {})):
            self.truth[key] = dict(value)
        await self.refresh()

    async def remove(self, key: str) -> None:
        check_passing(key)
        self._answer()
        self.truth.pop(key, None)
        await self.refresh()

    async def refresh(self) -> None:
        self._answer()
        self.refreshed += 1
        await asyncio.sleep(0)
        self.view = self._read()

    def get(self, key: str) -> Value | None:
        return self.view.get(key)

    def items(self, prefix: str) -> dict[str, Value]:
        return self.view.items(prefix)

    async def close(self) -> None:
        pass

    def _read(self) -> RegistryView:
        view = RegistryView()
        for key, value in self.truth.items():
            view.put(key, value)
        return view

    def _answer(self) -> None:
        if self.away:
            raise RegistryUnavailable("the registry is away")
