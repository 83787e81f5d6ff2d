"""The embedders of one process: each generation is read and written with its own, and each model is loaded once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from crewmem_producers.errors import CrewmemError
from crewmem_producers.registry import Registry

from crewmem_store import generations
from crewmem_store.embedder import Embedder
from crewmem_store.errors import EmbedderMismatch
from crewmem_store.generations import Generation

OpenEmbedder = Callable[[str], Embedder]
"""Name -> embedder; blocks while it loads. Raises EmbedderUnavailable, MissingExtra."""


class EmbedderShelf:
    """Embedders by name, opened when they are first asked for. Thread-safe; its methods block while a model loads."""

    def __init__(self, open: OpenEmbedder, *, ready: Embedder | None = None) -> None:
        """`ready` is one that is loaded already."""
        self._open = open
        self._lock = threading.Lock()
        self._by_name: dict[str, Embedder] = {} if ready is None else {ready.name: ready}

    def named(self, name: str) -> Embedder:
        """The embedder of that name. Raises EmbedderUnavailable, MissingExtra."""
        with self._lock:
            if name not in self._by_name:
                self._by_name[name] = self._open(name)
            return self._by_name[name]

    def of(self, generation: Generation) -> Embedder:
        """The embedder that the generation was written with. Raises EmbedderMismatch when it cannot be had."""
        found = self.loaded(generation)
        if found is not None:
            return found
        try:
            embedder = self.named(generation.embedder)
        except CrewmemError as error:
            raise EmbedderMismatch(
                f"{generation.name} needs the embedder {generation.embedder}: {error}. Make it available here, or go back "
                "with `crewmem generations activate`, or move with `crewmem replay --embedder NAME`."
            ) from error
        if embedder.fingerprint != generation.embedder_fingerprint:
            raise EmbedderMismatch(
                f"{generation.name} was written with {generation.embedder_fingerprint}, and {generation.embedder} is "
                f"{embedder.fingerprint} here: install the model that it was written with, or move with "
                f"`crewmem replay --embedder {embedder.name}`."
            )
        return embedder

    def loaded(self, generation: Generation) -> Embedder | None:
        """The same, if it is there without loading anything."""
        embedder = self._by_name.get(generation.embedder)
        return embedder if embedder is not None and embedder.fingerprint == generation.embedder_fingerprint else None

    def at_start(self, registry: Registry, *, default: str) -> Embedder:
        """What a process begins with: the embedder of the generation that answers; `default` only where there is none yet.

        Raises EmbedderMismatch, EmbedderUnavailable, MissingExtra.
        """
        active = generations.active_or_none(registry)
        return self.named(default) if active is None else self.of(active)
