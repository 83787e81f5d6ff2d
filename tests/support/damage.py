"""Files of a LanceDB table with other bytes than were written."""

from __future__ import annotations

from pathlib import Path


def change_bytes(table: Path, before: bytes, after: bytes) -> None:
    """In the one data file of the table that holds `before`; as many bytes as there were."""
    assert len(before) == len(after)
    [holds] = [path for path in (table / "data").iterdir() if before in path.read_bytes()]
    holds.write_bytes(holds.read_bytes().replace(before, after))
