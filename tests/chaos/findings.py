"""What was found wrong, by kind: the lines of the table that must be 0."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LOST, DOUBLED, LEAKED, BACK, UNSEEN = "lost", "doubled", "leaked", "forgotten text back", "not seen"
STARVED = "others not answered"
WRONG, OPEN, DIGEST, DIED = "decided otherwise", "account does not close", "digest differs", "died by itself"
KINDS = {
    LOST: "acknowledged and not on the log; on the log without an outcome; a memory that cannot be read, listed or recalled",
    DOUBLED: "a ledger row, a row of memory or an entry of a list that is there twice",
    LEAKED: "text given to a tenant, a session or a key that may not read it",
    BACK: "text of what is forgotten, in a recall, a list, a row, or (once erased) in any file",
    UNSEEN: "published, and not in a recall that waited for its token",
    STARVED: "two minutes in which no recall of another tenant than the one that attacks was answered",
    WRONG: "another outcome or another text than the same events by themselves give",
    OPEN: "what `crewmem accounting --verify` names",
    DIGEST: "a generation that is not what a clean replay of the log gives",
    DIED: "a process that ended by itself, or badly when it was told to",
}
"""Kind -> what is counted there."""


@dataclass
class Findings:
    """How often each kind was found, and the first of each in words."""

    counts: Counter[str] = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    shown: int = 20

    def add(self, kind: str, says: str) -> None:
        """Raises KeyError for a kind that no table shows."""
        assert KINDS[kind]
        self.counts[kind] += 1
        if self.counts[kind] <= self.shown:
            self.said.append(f"{kind}: {says}")
