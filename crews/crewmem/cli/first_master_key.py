"""The master key that `crewmem up` makes once for its home folder."""

from __future__ import annotations

from crewmem_producers import data_keys
from crewmem_producers.connect import seals
from crewmem_producers.master_key import generate
from crewmem_producers.registry import Registry
from crewmem_producers.settings import MASTER_KEY_NAME, KafkaSettings

from crewmem.cli.errors import MasterKeyLost
from crewmem.cli.home import keep


def first_master_key(settings: KafkaSettings, registry: Registry) -> bool:
    """Sees to it that there is one; whether it was made just now. Raises MasterKeyLost where others were sealed for."""
    if seals(settings):
        return False
    live = [value for value in registry.items(data_keys.PREFIX).values() if not data_keys.is_erased(value)]
    if live:
        raise MasterKeyLost(
            f"{settings.home / MASTER_KEY_NAME} is gone, and {len(live)} data keys on this log open with it alone: put it back "
            "from your copy. If there is none, memories that are stored stay, and no replay will ever read their events; "
            f"`crewmem keys master > {settings.home / MASTER_KEY_NAME}` then goes on with a new key."
        )
    keep(settings.home, MASTER_KEY_NAME, generate())
    return True
