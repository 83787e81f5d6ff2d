"""`crewmem demo`: sets the stage, has the story told, and says whether it held."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crewmem_producers.errors import missing_extra

from crewmem.cli.console import out, working
from crewmem.cli.errors import CheckFailed

if TYPE_CHECKING:
    from crewmem.cli.demo.show import Show
    from crewmem.cli.demo.stack import Stack

_NEEDED = ("crewai", "lancedb", "fastapi", "faststream", "sentence_transformers")


def demo() -> None:
    """See it work: two crews, each run a process of its own, one memory, and a kill -9. Needs no key and no network."""
    for module in _NEEDED:
        if importlib.util.find_spec(module) is None:
            raise missing_extra("all", module)
    from crewmem.cli.demo.isolation import isolate
    from crewmem.cli.demo.show import Show
    from crewmem.cli.demo.stack import Stack
    from crewmem.cli.demo.story import Story

    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    show = Show(out())
    with tempfile.TemporaryDirectory(prefix="crewmem-demo-") as name:
        folder = Path(name)
        isolate(folder)
        offline = _introduce(show)
        with _running(Stack(folder / "home")) as stack:
            show.say(f"`crewmem up` runs as process {stack.pid} on {stack.url}, data in {stack.home}")
            story = Story(stack, folder, show, offline=offline)
            story.tell()
    claims = story.claims
    show.say("")
    if claims.broken:
        raise CheckFailed("the demo did not hold: " + "; ".join(claim.says for claim in claims.broken))
    held, seconds = sum(claim.holds for claim in claims.made), time.monotonic() - began
    show.say(f"{held} of {len(claims.made)} claims hold, {seconds:.0f} s. Next: `{_program()} up`", style="bold green")


def _program() -> str:
    """How the reader's shell calls this program: by its name, or by the path of an environment that is not active."""
    own = Path(sys.executable).with_name("crewmem")
    found = shutil.which("crewmem")
    return "crewmem" if found is not None and Path(found).samefile(own) else os.path.relpath(own)


def _introduce(show: Show) -> bool:
    """Says which model answers; whether it is the offline one."""
    from crewmem.named_model import DISCLAIMER, named_model

    named = named_model()
    if named is None:
        show.say(f"No OPENAI_API_KEY is set, so the crews use an {DISCLAIMER}.")
        show.say("What it says beyond its task can therefore only have come from memory.")
        return True
    show.say(f"The crews use {named.model} at {named.base_url or 'OpenAI'}.")
    show.say("How a real model words its answers is shown, and not held against it; what memory does is checked.")
    return False


@contextmanager
def _running(stack: Stack) -> Iterator[Stack]:
    """A stack that no way out of the block leaves behind."""
    try:
        with working("starting `crewmem up` with a home of its own"):
            stack.start()
        yield stack
    finally:
        stack.stop()


def _leave(number: int, frame: object) -> None:
    """A demo that is told to end takes its stack with it."""
    del frame
    sys.exit(128 + number)
