"""LanceDB, imported without the REST client that comes with it.

lancedb imports the client of the Lance Namespace service, whose methods pydantic's `validate_call` compiles at import: half of
the 2.2 CPU seconds that the import of lancedb 0.40 takes, in each process and command, for calls that crewmem never makes. So
the decorator leaves the methods as they are for as long as the import takes. Every module imports LanceDB from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pydantic


def _unchanged(function: Callable[..., Any] | None = None, **_: Any) -> Callable[..., Any]:
    return function if function is not None else lambda decorated: decorated


@contextmanager
def _without_validators() -> Iterator[None]:
    before = pydantic.validate_call
    pydantic.validate_call = _unchanged  # type: ignore[assignment]
    try:
        yield
    finally:
        pydantic.validate_call = before


with _without_validators():
    import lancedb
    from lancedb.index import BTree

__all__ = ["BTree", "lancedb"]
