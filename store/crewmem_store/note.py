"""The note that a store keeps of itself: whose it is, and which layout it has."""

from __future__ import annotations

from crewmem_store.errors import LayoutTooNew, NamespaceMismatch
from crewmem_store.generations import LAYOUT_VERSION
from crewmem_store.store import StoreNote


def fresh(namespace: str) -> StoreNote:
    """The note of a store that this program creates."""
    return StoreNote(namespace, LAYOUT_VERSION)


def check(note: StoreNote, *, namespace: str) -> None:
    """Raises LayoutTooNew, NamespaceMismatch."""
    if note.layout_version > LAYOUT_VERSION:
        raise LayoutTooNew(
            f"the store has layout {note.layout_version}, this program knows layouts up to {LAYOUT_VERSION}: update crewmem"
        )
    if note.namespace != namespace:
        raise NamespaceMismatch(
            f"the store belongs to CREWMEM_NAMESPACE={note.namespace}, this process has {namespace}: "
            "set that one, or choose another CREWMEM_STORE"
        )
