"""Private memories, as CrewAI means them: seen by the source that made them, and by nobody else who does not ask for all.

A memory is private by its metadata: `private` is true, and `source` says whose it is. Crews, consumers and the service share
this: who sees one, and what one may stand for.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

PRIVATE, SOURCE = "private", "source"
"""Names in the metadata of a memory."""
_OWNERS = uuid.UUID("3b4ad3b8-6c0e-5f0c-9d0e-0f6c1f5f1a52")


def is_private(metadata: Mapping[str, Any]) -> bool:
    """Return whether the memory is private."""
    return metadata.get(PRIVATE) is True


def visible(metadata: Mapping[str, Any], *, source: str | None, include_private: bool) -> bool:
    """Return whether one who asks as `source` sees the memory. A private memory without a source is seen only by one who
    includes what is private."""
    return include_private or not is_private(metadata) or (source is not None and metadata.get(SOURCE) == source)


def private_key(metadata: Mapping[str, Any], key: str) -> str:
    """Return the key of a private memory whose own key, or the hash of its text, is `key`: another one for each source, so
    that it replaces and repeats nothing of another's, nor of what is not private."""
    return f"private {uuid.uuid5(_OWNERS, f'{metadata.get(SOURCE)!r}/{key}')}"
