"""kill -9 in the middle of an erase: whoever runs it again finishes that one, and does not begin another."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from crewmem_producers import codec, data_keys, erasing, master_key
from crewmem_producers.connect import open_log, open_registry, open_sealer
from crewmem_producers.events import Event, MemoryRemembered
from crewmem_producers.names import Scope
from crewmem_producers.settings import KafkaSettings, load
from support import programs

ANN = Scope.of("default", "ann")

ERASE = """
    import asyncio, os, signal
    from crewmem_producers import erasing
    from crewmem_producers.connect import open_log, open_registry
    from crewmem_producers.settings import KafkaSettings, load

    def die(step):
        if step == {step!r}:
            os.kill(os.getpid(), signal.SIGKILL)

    async def main():
        log, registry = open_log(load(KafkaSettings)), open_registry(load(KafkaSettings))
        await log.start()
        await registry.start()
        await erasing.erase({key!r}, log=log, registry=registry, source="test", checkpoint=die)
        await registry.close()
        await log.close()

    asyncio.run(main())
"""


async def remember(settings: KafkaSettings) -> None:
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    sealer = open_sealer(settings, registry)
    assert sealer is not None
    await log.append(await sealer.seal([codec.encode(Event(MemoryRemembered(content="text"), ANN))]))
    await registry.close()
    await log.close()


async def found(settings: KafkaSettings) -> tuple[set[str], int, bool]:
    """The ids of the session's forgets on the log, its wrapped keys, and whether the erasure counts as done."""
    log, registry = open_log(settings), open_registry(settings)
    await log.start()
    await registry.start()
    records = await log.read(0, 0)
    forgets = {str(record.header("ce_id")) for record in records if record.header("ce_type") == "crewmem.session.forgotten"}
    wrapped = sum("wrapped" in value for value in data_keys.of_scope(registry, ANN.key).values())
    erasure = erasing.erasure_of(registry, ANN.key)
    await registry.close()
    await log.close()
    return forgets, wrapped, erasure is not None and erasure.done


@pytest.mark.parametrize("step", erasing.STEPS[:-1])
def test_a_killed_erase_is_finished_and_not_begun_anew(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path))
    monkeypatch.setenv("CREWMEM_MASTER_KEY", master_key.generate())
    settings = load(KafkaSettings)
    asyncio.run(remember(settings))
    killed = programs.run(ERASE.format(step=step, key=ANN.key))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    _, _, done = asyncio.run(found(settings))
    assert not done, "what was killed does not count as done"
    again = programs.run(ERASE.format(step="none", key=ANN.key))
    assert again.returncode == 0, again.stderr
    forgets, wrapped, done = asyncio.run(found(settings))
    assert (len(forgets), wrapped, done) == (1, 0, True)
