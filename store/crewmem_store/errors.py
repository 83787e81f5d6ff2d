"""The errors of the store and the recall service.

CrewmemError
├── StoreUnavailable     (producers) the store does not answer
│   └── StoreDamaged     files of the store are gone, or do not hold what was written
├── StoreRefused         the store is not one that this program may use
│   ├── EmbedderMismatch written with another embedder
│   ├── NamespaceMismatch written under another CREWMEM_NAMESPACE
│   ├── LayoutTooNew     written by a newer crewmem
│   ├── PartitionsChanged the log's number of partitions is not the generation's
│   └── LogMismatch      the log is not the one that this store was made from
├── BackupBroken         a backup does not hold what its manifest says
├── BackupRefused        a backup and a log do not belong together
├── UnknownGeneration    no such generation is live
├── GenerationBehind     a generation has not reached what the active one holds
├── GenerationInUse      the active generation, which answers recalls
├── EmbedderUnavailable  the embedder's model cannot be loaded
├── InvalidKey           the API key is unknown, expired or revoked
├── UnknownKey           no API key has that name or hash
└── RequestRefused       a call to the recall service that it cannot answer as asked
"""

from __future__ import annotations

from collections.abc import Mapping

from crewmem_producers.errors import CrewmemError, StoreUnavailable


class StoreDamaged(StoreUnavailable):
    """Files of the store are gone, or do not hold what was written. `crewmem replay` builds the memory again from the log."""


class StoreRefused(CrewmemError):
    """The store cannot be used as it is; the message names the remedy."""


class EmbedderMismatch(StoreRefused):
    """A generation's embedder cannot be had here. Install that model, or move with `crewmem replay --embedder NAME`."""


class NamespaceMismatch(StoreRefused):
    """The store belongs to another CREWMEM_NAMESPACE. Set that one, or choose another CREWMEM_STORE."""


class LayoutTooNew(StoreRefused):
    """The store was written by a newer crewmem. Update this program."""


class PartitionsChanged(StoreRefused):
    """The log's number of partitions changed, so sessions moved. Restore it, or run `crewmem replay`."""


class LogMismatch(StoreRefused):
    """The log was wiped, shortened or refilled since the store was written. `crewmem replay` builds from the log as it is."""


class BackupBroken(CrewmemError):
    """The backup is missing, damaged or ends short. Use another copy, or make a new one with `crewmem backup create`."""


class BackupRefused(CrewmemError):
    """The backup and the log do not belong together. The message says what to choose instead."""


class UnknownGeneration(CrewmemError, LookupError):
    """No generation of that name is live. `crewmem generations list` shows them."""


class GenerationBehind(CrewmemError):
    """The generation lacks what the active one holds already. Wait until its consumers have caught up, then try again."""


class GenerationInUse(CrewmemError):
    """The generation answers recalls. Activate another one first (`crewmem generations activate`)."""


class EmbedderUnavailable(CrewmemError):
    """The embedder's model cannot be loaded. Check its name (CREWMEM_EMBEDDER), and that its package or hub is there."""


class InvalidKey(CrewmemError):
    """The API key is unknown, expired or revoked. `crewmem keys create` makes a new one."""


class UnknownKey(CrewmemError, LookupError):
    """No API key, or more than one, is meant by that name or hash. `crewmem keys list` shows them."""


class RequestRefused(CrewmemError):
    """The recall service cannot answer a call as it was asked; `status` (HTTP) and `code` say why, the message what to do.

    `headers` go with the answer (Retry-After).
    """

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
