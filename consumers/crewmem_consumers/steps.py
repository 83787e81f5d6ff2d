"""The named steps between "read from the log" and "position stored": a crash test stops a process at each of them."""

from __future__ import annotations

from crewmem_store import switch
from crewmem_store.store import LEDGER_WRITTEN, ROWS_MERGED, UPDATES_APPLIED, WRITES, Checkpoint, no_checkpoint

__all__ = ["LEDGER_WRITTEN", "ROWS_MERGED", "UPDATES_APPLIED", "WRITES", "Checkpoint", "no_checkpoint"]
"""What this module hands on of the store's."""

READ = "read"
DECODED = "decoded"
SELECTED = "selected"
REDACTED = "redacted"
SUMMARISED = "summarised"
EMBEDDED = "embedded"
DECIDED = "decided"
LETTERS_SENT = "letters_sent"

STAGES = (READ, DECODED, SELECTED, REDACTED, SUMMARISED, EMBEDDED, DECIDED, LETTERS_SENT)
"""Called by the ingestor, in this order: the first three once for the records that it is given, the others once a commit."""

STEPS = STAGES + WRITES
"""And then those of the store, inside `PartitionStore.commit`."""

COPIED = "redrive_copied"
"""Called by a redrive between the copies of dead letters and the events that say so: a crash there makes no second copy."""

PLANNED = "planned"
NAME_CLAIMED = "name_claimed"
GENERATION_SAVED = "generation_saved"
REPLAY = (PLANNED, NAME_CLAIMED, GENERATION_SAVED, *STEPS, switch.CAUGHT_UP, switch.ACTIVATED)
"""The stages of a replay: what is to be built is known, has a name that no other replay has, and is in the registry; it is
consumed like any generation, here or by the consumers that run; it has caught up; it answers."""
