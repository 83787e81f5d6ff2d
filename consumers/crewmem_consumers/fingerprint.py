"""A fingerprint of the program that decides rules and makes content and text: with the same one, the same event gives the
same of each.

The fingerprint is of the program text itself, so that nobody has to remember to raise a version: a change of any of these
modules, of Python, or of the libraries that know secrets and rules makes every row anew at the next replay. The embedder has
its own fingerprint.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
from functools import cache
from importlib.metadata import version

from crewmem_producers import codec, display, events

from crewmem_consumers import (
    claims,
    conditions,
    draft,
    echo,
    patterns,
    redact,
    redaction,
    rules,
    secret_assignments,
    secret_formats,
    secret_names,
    secret_phrases,
    secret_places,
    secret_values,
    secrets,
    sentences,
    split,
    summarise,
    variables,
)  # fmt: skip
from crewmem_consumers.rulefile import KeepWith

_MODULES = (
    codec, display, events, split, sentences, variables, patterns, conditions, rules, draft, redact, redaction, secrets,
    secret_formats, secret_places, secret_names, secret_assignments, secret_phrases, secret_values, echo, claims, summarise,
)  # fmt: skip
_LIBRARIES = ("google-re2", "pydantic-core", "common-expression-language")


def made_by(keep: KeepWith) -> str:
    """The fingerprint of the program, and what the rule that keeps a span says of how its text is made."""
    return _made_by(keep.redaction, keep.summary)


def is_of_this_program(made_by: str) -> bool:
    """Whether this program made what notes that, under whatever rule: it would find the same of the same span again."""
    return made_by.partition("/")[0] == _program()


@cache
def _made_by(redacted: str, summarised: str) -> str:
    return f"{_program()}/{redacted}/{summarised}"


@cache
def _program() -> str:
    versions = [platform.python_version(), *map(version, _LIBRARIES)]
    whole = hashlib.sha256(" ".join(versions).encode())
    for module in _MODULES:
        whole.update(inspect.getsource(module).encode())
    return whole.hexdigest()[:16]
