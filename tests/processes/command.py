"""`crewmem` for crash tests: `command.py STEP CONTROL ARGUMENT...` runs `crewmem ARGUMENT...`, which kills itself with SIGKILL
when it reaches that step of an erase, a rotation, a backup or a restore.

`CONTROL` names the guard that is taken out (a control must lose or double something), or is empty.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from crewmem.cli.app import app
from crewmem_producers import erasing, rotation
from crewmem_store.backup import create, restore
from crewmem_store.files import Files


def no_plan() -> None:
    """Control: an erase notes nothing before it begins."""
    note = erasing._note

    async def only_when_done(registry: Any, erasure: erasing.Erasure) -> None:
        if erasure.done:
            await note(registry, erasure)

    erasing._note = only_when_done


def manifest_first() -> None:
    """Control: the manifest names segments that are written after it."""
    write = Files.write

    def later(self: Files, name: str, data: bytes) -> None:
        if not name.endswith(".seg"):
            write(self, name, data)

    Files.write = later  # type: ignore[method-assign]


def erasures_forgotten() -> None:
    """Control: a restore puts the backup's registry back as it is."""
    restore._erasures = lambda *arguments: []


CONTROLS: dict[str, Callable[[], None]] = {
    "plan": no_plan, "manifest": manifest_first, "erasures": erasures_forgotten, "": lambda: None,
}  # fmt: skip


def main(step: str, control: str, *arguments: str) -> None:
    def die(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    CONTROLS[control]()
    places: list[tuple[Any, str]] = [
        (erasing, "erase"), (rotation, "rotate"), (rotation, "retire"), (create, "create"), (restore, "restore"),
    ]  # fmt: skip
    for place, name in places:
        setattr(place, name, partial(getattr(place, name), checkpoint=die))
    app(arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
