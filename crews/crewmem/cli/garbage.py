"""Python's search for reference cycles, set for processes that work through a log."""

from __future__ import annotations

import gc

OBJECTS = 50_000
"""New objects between two looks at the youngest. A batch makes hundreds of thousands, and hardly a cycle among them: with
Python's own 700 the looks took a quarter of a replay's time."""
LOOKS = 20
"""So many looks at the youngest, and at those that stayed once, come before one at the next older ones."""


def look_for_cycles_rarely() -> None:
    """Holds for the whole process."""
    gc.set_threshold(OBJECTS, LOOKS, LOOKS)
