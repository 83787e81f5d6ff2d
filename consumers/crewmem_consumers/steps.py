"""The named steps between "read from the log" and "position stored": a crash test stops a process at each of them."""

from __future__ import annotations

from collections.abc import Callable

from crewmem_store import switch

READ = "read"
DECODED = "decoded"
SELECTED = "selected"
REDACTED = "redacted"
SUMMARISED = "summarised"
EMBEDDED = "embedded"
DECIDED = "decided"
LETTERS_SENT = "letters_sent"
ROWS_MERGED = "rows_merged"
UPDATES_APPLIED = "updates_applied"
LEDGER_WRITTEN = "ledger_written"

STAGES = (READ, DECODED, SELECTED, REDACTED, SUMMARISED, EMBEDDED, DECIDED, LETTERS_SENT)
"""Called by the ingestor, in this order: the first three once for the records that it is given, the others once a commit."""

WRITES = (ROWS_MERGED, UPDATES_APPLIED, LEDGER_WRITTEN)
"""Called by the store inside `PartitionStore.commit`, in this order."""

STEPS = STAGES + WRITES

COPIED = "redrive_copied"
"""Called by a redrive between the copies of dead letters and the events that say so: a crash there makes no second copy."""

PLANNED = "planned"
NAME_CLAIMED = "name_claimed"
GENERATION_SAVED = "generation_saved"
REPLAY = (PLANNED, NAME_CLAIMED, GENERATION_SAVED, *STEPS, switch.CAUGHT_UP, switch.ACTIVATED)
"""The stages of a replay: what is to be built is known, has a name that no other replay has, and is in the registry; it is
consumed like any generation, here or by the consumers that run; it has caught up; it answers."""

Checkpoint = Callable[[str], None]
"""Told the name of each step as it is reached."""


def no_checkpoint(name: str) -> None:
    """What runs in production: nothing happens at a step."""
    del name
