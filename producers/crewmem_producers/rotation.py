"""Moving to another master key: every data key is wrapped anew, while services and consumers go on.

What is wrapped anew stays so: a rotation that was killed goes on where it was, and two at once do the same work twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from crewmem_producers import erasing, openers
from crewmem_producers.codec import format_time
from crewmem_producers.data_keys import PREFIX, RETIRED, is_damaged, is_erased, wrapping_info
from crewmem_producers.errors import KeyMissing, NewKeyUnknown
from crewmem_producers.master_key import MasterKeys
from crewmem_producers.registry import Registry, Value

CHECKED, REWRAPPED, MASTER_RETIRED = "openers_checked", "data_key_rewrapped", "master_retired"
STEPS = (CHECKED, REWRAPPED, MASTER_RETIRED)
"""In this order, the second once a data key; a crash test stops a process at each of them."""

Progress = Callable[[int, int], None]
"""Called with how many of how many data keys are done."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: `rewrapped` data keys now open with the current master key; `left` are those of master keys that
    are not held here, by fingerprint; `damaged` are the ids of those whose record opens with no key: they were passed over."""

    rewrapped: int
    left: Mapping[str, int]
    damaged: tuple[str, ...] = ()


async def rotate(
    registry: Registry, masters: MasterKeys, *, now: datetime, progress: Progress = lambda done, total: None,
    checkpoint: Callable[[str], None] = lambda step: None,
) -> Rotated:  # fmt: skip
    """Wraps every data key with the current master key; one that an erasure names is erased again, should it be back.

    Raises NewKeyUnknown, with nothing changed, while a process that opens events does not hold it; RegistryUnavailable.
    """
    await registry.refresh()
    await _check_openers(registry, masters, now)
    await erasing.enforce(registry)
    checkpoint(CHECKED)
    todo = [key for key, value in registry.items(PREFIX).items() if _is_elsewhere(value, masters)]
    done, damaged = 0, {key for key, value in registry.items(PREFIX).items() if is_damaged(value)}
    for at, key in enumerate(todo, start=1):
        try:
            done += await _rewrap(registry, masters, key)
        except KeyMissing:  # its master key is held: what is wrapped is not what it was
            damaged.add(key)
        checkpoint(REWRAPPED)
        progress(at, len(todo))
    others = Counter(
        value["master"] for key, value in registry.items(PREFIX).items()
        if not is_erased(value) and key not in damaged and value["master"] not in masters.fingerprints
    )  # fmt: skip
    return Rotated(done, dict(others), tuple(sorted(key.removeprefix(PREFIX) for key in damaged)))


async def retire(
    registry: Registry, masters: MasterKeys, *, now: datetime, checkpoint: Callable[[str], None] = lambda step: None
) -> tuple[str, ...]:
    """Forbids sealing for every master key that is held here but the current one, and gives their fingerprints. Rotate once
    more afterwards: data keys that were wrapped with an old one until now are in the registry then, and no more will come.
    Raises RegistryUnavailable."""
    old = masters.fingerprints[1:]
    for fingerprint in old:
        await registry.put(RETIRED + fingerprint, {"retired": format_time(now), "successor": masters.current.fingerprint})
    checkpoint(MASTER_RETIRED)
    return old


async def _check_openers(registry: Registry, masters: MasterKeys, now: datetime) -> None:
    if names := openers.unaware(registry, masters.current.fingerprint, now=now):
        raise NewKeyUnknown(
            f"{len(names)} processes that open events do not hold the master key {masters.current.fingerprint}: "
            f"{', '.join(names[:10])}. Add it to their CREWMEM_MASTER_KEY, behind the old one, or to its file, which they read "
            "again by themselves; then rotate again (one that was stopped counts for three minutes)."
        )


async def _rewrap(registry: Registry, masters: MasterKeys, key: str) -> bool:
    """Wraps one data key anew. False if that is not needed any more, after another rotation or an erase. Raises KeyMissing for
    a record that is damaged."""
    value = registry.get(key)
    if value is None or not _is_elsewhere(value, masters):
        return False
    info = wrapping_info(key.removeprefix(PREFIX), value["scope_key"])
    secret = masters.unwrap(value["wrapped"], fingerprint=value["master"], info=info)
    public = masters.current
    # A key that is erased meanwhile stays erased: the registry takes nothing over an erasure.
    await registry.put(key, {**value, "wrapped": public.wrap(secret, info=info), "master": public.fingerprint})
    return True


def _is_elsewhere(value: Value, masters: MasterKeys) -> bool:
    """Whether the data key is wrapped with another master key that is held here."""
    return not is_erased(value) and not is_damaged(value) and value["master"] in masters.fingerprints[1:]
