"""What Python 3.11 has and 3.10 lacks, for the parts that a crew imports: CrewAI supports 3.10, so they do too.

`crewmem_store` and `crewmem_consumers` need 3.11, because a library of theirs does; they import from the standard library.
"""

from __future__ import annotations

import re
import sys
from datetime import datetime, timezone

from typing_extensions import Unpack

from crewmem_producers.errors import PythonTooOld

if sys.version_info >= (3, 11):
    from asyncio import timeout
    from enum import StrEnum

    import tomllib
else:
    from enum import Enum

    import tomli as tomllib
    from async_timeout import timeout

    class StrEnum(str, Enum):  # there is no other on 3.10
        """A string with a name; it prints as its value."""

        def __str__(self) -> str:
            return str(self.value)

        def __format__(self, format_spec: str) -> str:
            return str(self.value).__format__(format_spec)


__all__ = ["UTC", "StrEnum", "Unpack", "iso_time", "require_server_python", "timeout", "tomllib"]

UTC = timezone.utc  # datetime.UTC is new in 3.11
SERVER_PYTHON = (3, 11)

_FRACTION = re.compile(r"\.(\d+)")


def iso_time(text: str) -> datetime:
    """Return `datetime.fromisoformat(text)` as 3.11 reads it: with `Z`, and any number of digits of a second.

    Raises ValueError.
    """
    if sys.version_info >= (3, 11):
        return datetime.fromisoformat(text)
    text = text[:-1] + "+00:00" if text[-1:] in ("Z", "z") else text
    return datetime.fromisoformat(_FRACTION.sub(lambda found: "." + found[1][:6].ljust(6, "0"), text, count=1))


def require_server_python(part: str) -> None:
    """Raise PythonTooOld where this Python cannot run `part`, a package of the consumer or the service."""
    if sys.version_info < SERVER_PYTHON:
        raise PythonTooOld(
            f"{part} needs Python 3.11 or later, and this is {sys.version.split()[0]}. Your crews can stay on 3.10 with "
            "crewmem[crewai]; run the rest in an environment of its own, such as: uvx --python 3.12 --from 'crewmem[all]' "
            "crewmem up"
        )
