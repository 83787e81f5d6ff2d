"""Who wrote an event: the API key that the service took it with, as the record's header `crewmem-writer`.

The service sets it; what a caller sends under that name is never read. A program that writes to the log itself has no key:
its events are unsigned, unless it forges the header, as it could forge everything else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crewmem_producers.display import display_name

HEADER = "crewmem-writer"
HASH_CHARACTERS = 12
"""Of the key's SHA-256 in hex: enough for `crewmem keys revoke`."""
UNSIGNED = "unsigned"
"""What is shown where no key is known."""

_WRITER = re.compile(rf"([0-9a-f]{{{HASH_CHARACTERS}}}) (.*)", re.DOTALL)


def of_key(key_hash: str, name: str) -> str:
    """`<12 hex of the key's hash> <its name>`, the name as `display_name` shows it."""
    return f"{key_hash[:HASH_CHARACTERS]} {display_name(name)}"


def parse(header: str | None) -> str | None:
    """A writer as `of_key` made it; None for a header that is missing or malformed. The name is cleaned again: any program may
    have written it."""
    found = _WRITER.fullmatch(header or "")
    return of_key(found[1], found[2]) if found else None


def as_json(writer: str | None) -> dict[str, str] | None:
    """`{"key": <start of its hash>, "name": <its name>}`; None where no key is known."""
    if not writer:
        return None
    key, _, name = writer.partition(" ")
    return {"key": key, "name": name}


def shown(told: Mapping[str, str] | None) -> str:
    """What `as_json` gave, for a person: `research crews (3f2a51c09d7e)`, else `unsigned`."""
    return f"{told['name']} ({told['key']})" if told else UNSIGNED
