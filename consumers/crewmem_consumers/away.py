"""What of the surroundings is away: a short name for metrics, a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass

from crewmem_producers.errors import KeyMissing, LogUnavailable, RegistryUnavailable, StoreUnavailable

from crewmem_consumers.errors import LlmUnavailable, WorkerUnavailable

_NAMES: tuple[tuple[type[Exception], str], ...] = (
    (StoreUnavailable, "store"), (LogUnavailable, "log"), (RegistryUnavailable, "registry"), (KeyMissing, "key"),
    (LlmUnavailable, "llm"), (WorkerUnavailable, "worker"),
)  # fmt: skip
PARTS = (*(name for _, name in _NAMES), "other")
"""Every name; `other` is a fault of ours that is tried again."""


@dataclass(frozen=True, slots=True)
class Away:
    """One part of the surroundings that is waited for."""

    part: str
    says: str

    @classmethod
    def of(cls, error: Exception) -> Away:
        """What that error says is away."""
        part = next((name for kind, name in _NAMES if isinstance(error, kind)), "other")
        return cls(part, f"{type(error).__name__}: {error}")
