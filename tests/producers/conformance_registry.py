"""The conformance suite of the registry contract: subclass `RegistryConformance` and give it an `open_registry` fixture.

`open_registry()` gives a new, not started registry object at the test's one place each time; `open_registry("other")`
one of another namespace at the same place.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable

import pytest
from crewmem_producers.errors import RegistryUnavailable
from crewmem_producers.registry import Registry

OpenRegistry = Callable[..., Registry]


async def follows(registry: Registry, key: str, value: object) -> None:
    """Returns once the registry's own following has brought the value; no refresh."""
    async with asyncio.timeout(30):
        while registry.get(key) != value:
            await asyncio.sleep(0.02)


class RegistryConformance:
    async def test_what_was_put_is_seen_at_once(self, open_registry: OpenRegistry) -> None:
        registry = open_registry()
        await registry.start()
        assert registry.get("active") is None
        await registry.put("active", {"generation": "g1"})
        assert registry.get("active") == {"generation": "g1"}
        await registry.close()

    async def test_a_later_process_finds_everything(self, open_registry: OpenRegistry) -> None:
        first = open_registry()
        await first.start()
        for n in range(30):
            await first.put(f"apikey/{n}", {"n": n, "text": "größe \U0001f600", "none": None, "list": [1, {"a": 2.5}]})
        await first.close()
        second = open_registry()
        await second.start()
        assert len(second.items("apikey/")) == 30
        assert second.get("apikey/7") == {"n": 7, "text": "größe \U0001f600", "none": None, "list": [1, {"a": 2.5}]}
        await second.close()

    async def test_others_follow_by_themselves(self, open_registry: OpenRegistry) -> None:
        writer, reader = open_registry(), open_registry()
        await writer.start()
        await reader.start()
        await writer.put("apikey/a", {"revoked": False})
        await follows(reader, "apikey/a", {"revoked": False})
        await writer.put("apikey/a", {"revoked": True})
        await follows(reader, "apikey/a", {"revoked": True})
        await writer.close()
        await reader.close()

    async def test_refresh_waits_for_what_was_written_before(self, open_registry: OpenRegistry) -> None:
        writer, reader = open_registry(), open_registry()
        await writer.start()
        await reader.start()
        for n in range(10):
            await writer.put("active", {"n": n})
            await reader.refresh()
            assert reader.get("active") == {"n": n}
        await writer.close()
        await reader.close()

    async def test_keys_that_are_written_once_stand_in_one_order_for_everyone(self, open_registry: OpenRegistry) -> None:
        registries = [open_registry() for _ in range(3)]
        for registry in registries:
            await registry.start()
        await asyncio.gather(*(registries[n % 3].put(f"claim/{n * 7 % 15:02d}", {"n": n}) for n in range(15)))
        registries.append(open_registry())
        await registries[3].start()
        for registry in registries:
            await registry.refresh()
        orders = {tuple(registry.items("claim/")) for registry in registries}
        assert len(orders) == 1 and len(orders.pop()) == 15
        for registry in registries:
            await registry.close()

    async def test_the_last_of_writes_at_once_is_what_everyone_sees(self, open_registry: OpenRegistry) -> None:
        registries = [open_registry() for _ in range(3)]
        for registry in registries:
            await registry.start()
        await asyncio.gather(*(registries[n % 3].put("active", {"n": n}) for n in range(15)))
        for registry in registries:
            await registry.refresh()
        seen = [registry.get("active") for registry in registries]
        assert seen[0] is not None
        assert seen[0] == seen[1] == seen[2]
        for registry in registries:
            await registry.close()

    async def test_what_was_erased_stays_erased_whoever_writes_over_it(self, open_registry: OpenRegistry) -> None:
        mine, other = open_registry(), open_registry()
        await mine.start()
        await other.start()
        await mine.put("datakey/1", {"wrapped": "a"})
        await other.put("datakey/1", {"erased": "now"})
        await mine.put("datakey/1", {"wrapped": "b"})
        await other.refresh()
        assert mine.get("datakey/1") == other.get("datakey/1") == {"erased": "now"}
        late = open_registry()
        await late.start()
        assert late.get("datakey/1") == {"erased": "now"}
        await late.put("datakey/1", {"erased": "again"})
        assert late.get("datakey/1") == {"erased": "again"}
        for registry in (mine, other, late):
            await registry.close()

    async def test_what_was_removed_is_gone_for_everyone_until_it_is_put_again(self, open_registry: OpenRegistry) -> None:
        mine, other = open_registry(), open_registry()
        await mine.start()
        await other.start()
        for n in range(3):
            await mine.put(f"opener/host/{n}", {"n": n})
        await mine.put("producer/host", {"depth": 1})
        for key in ("opener/host/0", "opener/host/1", "producer/host", "producer/host", "opener/unknown"):
            await mine.remove(key)
        assert mine.get("opener/host/0") is None and list(mine.items("")) == ["opener/host/2"]
        await other.refresh()
        await other.put("opener/host/1", {"n": 9})
        await follows(mine, "opener/host/1", {"n": 9})
        late = open_registry()
        await late.start()
        for registry in (mine, other, late):
            assert registry.items("") == {"opener/host/1": {"n": 9}, "opener/host/2": {"n": 2}}
            await registry.close()

    async def test_what_is_put_right_after_a_removal_is_seen_by_everyone(self, open_registry: OpenRegistry) -> None:
        mine, other = open_registry(), open_registry()
        await mine.start()
        await other.start()
        for n in range(3):
            await mine.put("producer/host", {"n": n})
            await mine.remove("producer/host")
            await other.refresh()
            await mine.remove("producer/host")
            await mine.put("active", {"n": n})
            await other.refresh()
            assert other.get("active") == {"n": n} and other.get("producer/host") is None
        await mine.close()
        await other.close()

    async def test_only_what_was_true_of_a_moment_can_be_removed(self, open_registry: OpenRegistry) -> None:
        registry = open_registry()
        await registry.start()
        for key in ("active", "apikey/a", "datakey/1", "erasure/a/b", "retired/1", "generation/g1", "opener", ""):
            await registry.put(key, {"n": 1})
            with pytest.raises(ValueError, match="not to be removed"):
                await registry.remove(key)
            assert registry.get(key) == {"n": 1}
        await registry.close()

    async def test_items_are_those_of_the_prefix(self, open_registry: OpenRegistry) -> None:
        registry = open_registry()
        await registry.start()
        for key in ("generation/g1", "generation/g10", "active", "apikey/generation/"):
            await registry.put(key, {"key": key})
        assert registry.items("generation/") == {name: {"key": name} for name in ("generation/g1", "generation/g10")}
        assert len(registry.items("")) == 4
        await registry.close()

    async def test_items_can_be_asked_for_by_any_thread_while_others_are_put(self, open_registry: OpenRegistry) -> None:
        writer, reader = open_registry(), open_registry()
        await writer.start()
        await reader.start()

        numbers = itertools.count()

        def ask() -> list[int]:
            seen = [0]
            while not stop.is_set():
                seen.append(len(reader.items("datakey/")))
            return seen

        stop, before = threading.Event(), sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # threads take turns in the middle of everything
        try:
            async with asyncio.timeout(120):
                asking = asyncio.gather(*(asyncio.to_thread(ask) for _ in range(2)))
                for _ in range(4):
                    await asyncio.gather(*(writer.put(f"datakey/{next(numbers)}", {}) for _ in range(50)))
                    await reader.refresh()
                stop.set()
                assert all(seen == sorted(seen) for seen in await asking)
        finally:
            stop.set()
            sys.setswitchinterval(before)
            await writer.close()
            await reader.close()

    async def test_namespaces_see_nothing_of_each_other(self, open_registry: OpenRegistry) -> None:
        mine, other = open_registry(), open_registry("other")
        await mine.start()
        await other.start()
        await mine.put("active", {"generation": "g1"})
        await other.refresh()
        assert other.items("") == {}
        await mine.close()
        await other.close()

    async def test_a_registry_that_is_not_started_or_closed_is_unavailable(self, open_registry: OpenRegistry) -> None:
        registry = open_registry()
        with pytest.raises(RegistryUnavailable):
            await registry.refresh()
        await registry.start()
        await registry.put("active", {"n": 1})
        await registry.close()
        await registry.close()
        with pytest.raises(RegistryUnavailable):
            await registry.put("active", {"n": 2})
        assert registry.get("active") == {"n": 1}  # the last known state stays readable
