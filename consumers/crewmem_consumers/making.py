"""How a memory's content and text are made of an event: two rows that agree in it, and in their event, are the same.

The fingerprint is of the program text itself, so that nobody has to remember to raise a version: a change of any of these
modules, or of the library that knows secrets, makes every row anew at the next replay. The embedder has its own fingerprint.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from importlib.metadata import version

from crewmem_producers import codec, events

from crewmem_consumers import claims, draft, echo, redact, redaction, secrets, sentences, split, summarise
from crewmem_consumers.rulefile import KeepWith

_MODULES = (codec, events, split, sentences, draft, redact, redaction, secrets, echo, claims, summarise)


def made_by(keep: KeepWith) -> str:
    """The fingerprint of the program, and what the rule that keeps a span says of how its text is made."""
    return _made_by(keep.redaction, keep.summary)


@cache
def _made_by(redacted: str, summarised: str) -> str:
    return f"{_program()}/{redacted}/{summarised}"


@cache
def _program() -> str:
    whole = hashlib.sha256(version("detect-secrets").encode())
    for module in _MODULES:
        whole.update(inspect.getsource(module).encode())
    return whole.hexdigest()[:16]
