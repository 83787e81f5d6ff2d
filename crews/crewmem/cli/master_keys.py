"""`crewmem keys master` and `crewmem keys rotate-master`: what data keys are wrapped with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer
from crewmem_producers.errors import SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.settings import KafkaSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, say
from crewmem.cli.errors import KeysLeft
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar


def master(
    public: Annotated[bool, typer.Option("--public", help="Print the public half of the key that is set.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a master key and print it: it opens every sealed event, and without it nobody can."""
    from crewmem_producers.master_key import generate

    key = None if public else generate()
    half = (_held() if key is None else MasterKeys.parse(key)).current
    if as_json:
        made = {} if key is None else {"key": key}
        print_json(made | {"public": half.text, "fingerprint": half.fingerprint})
        return
    if key is None:
        say(half.text)
        return
    note(f"fingerprint {half.fingerprint}; the public half, for who seals only:  CREWMEM_MASTER_PUBLIC_KEY={half.text}")
    note("keep a copy where no fire and no typing error reaches both: without this key the log cannot be read", style="yellow")
    say(key)


def rotate_master(
    retire: Annotated[
        bool, typer.Option("--retire", help="Also forbid sealing for the old key: everybody has the new one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Wrap every data key with the first key of CREWMEM_MASTER_KEY, which also holds the old one; nothing is stopped for it."""
    settings, masters = load(KafkaSettings), _held()
    if len(masters.fingerprints) < 2:
        raise SettingsError("CREWMEM_MASTER_KEY holds one key: set it to the new key, a space, and the old one")
    done = asyncio.run(_rotated(settings, masters, retire=retire))
    if as_json:
        print_json(
            {"master": masters.current.fingerprint, "rewrapped": done.rewrapped, "left": done.left, "retired": done.retired}
        )
    else:
        say(f"{done.rewrapped} data keys now open with {masters.current.fingerprint}")
    for id in done.damaged:
        note(
            f"passed over, its record in the registry is damaged (restore it, or `crewmem keys lost {id}`): {id}",
            style="yellow",
        )
    if done.left:
        kept = ", ".join(f"{count} with {fingerprint}" for fingerprint, count in done.left.items())
        raise KeysLeft(f"data keys open with keys that are not here ({kept}): add those to CREWMEM_MASTER_KEY and rotate again")
    if done.retired:
        note(f"nothing opens with {', '.join(done.retired)} any more, and nothing is sealed for it: it can be destroyed")
    else:
        note(
            "keep the old key until everybody who seals has the new one (services, producers that write to Kafka: "
            f"CREWMEM_MASTER_PUBLIC_KEY={masters.current.text}), then rotate again with --retire"
        )


@dataclass(frozen=True, slots=True)
class _Done:
    rewrapped: int
    left: dict[str, int]
    damaged: tuple[str, ...]
    retired: tuple[str, ...] = ()


async def _rotated(settings: KafkaSettings, masters: MasterKeys, *, retire: bool) -> _Done:
    from crewmem_producers import rotation

    async with parts.registry(settings) as registry:
        with progress_bar() as show:
            progress = partial(show, "wrapping data keys")
            first = await rotation.rotate(registry, masters, now=utc_now(), progress=progress)
            if not retire:
                return _Done(first.rewrapped, dict(first.left), first.damaged)
            old = await rotation.retire(registry, masters, now=utc_now())
            late = await rotation.rotate(registry, masters, now=utc_now(), progress=progress)
    return _Done(first.rewrapped + late.rewrapped, dict(late.left), late.damaged, old)


def _held() -> MasterKeys:
    from crewmem_producers.connect import master_keys

    held = master_keys(load(KafkaSettings))()
    if held is None:
        raise SettingsError("no master key is set: CREWMEM_MASTER_KEY, or CREWMEM_MASTER_KEY_FILE")
    return held
