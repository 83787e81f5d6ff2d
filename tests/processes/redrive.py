"""An operator's redrive as a process: `redrive.py SPEC`, with SPEC in JSON.

`settings` are the store's; every dead letter is redriven. With `die` the process kills itself with SIGKILL between the copies
and the events that say so; with `without: look` the copies that are there are not looked for (the control).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from crewmem.cli.letters import desk
from crewmem_consumers.redrive import Ref, redrive
from crewmem_consumers.steps import COPIED
from crewmem_producers.log import LoggedRecord
from crewmem_producers.settings import StoreSettings
from processes.consume import CONTROLS


def die(step: str) -> None:
    if step == COPIED:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(spec: dict[str, Any]) -> None:
    if spec.get("without"):
        CONTROLS[spec["without"]]()
    async with desk(StoreSettings(**spec["settings"])) as opened:
        letters = {letter.position: letter for letter in await opened.letters()}

        async def fetch(ref: Ref) -> LoggedRecord:
            return await opened.sent(letters[ref.position])

        refs = [letter.ref for letter in letters.values()]
        checkpoint = die if spec.get("die") else lambda step: None
        await redrive(refs, log=opened.log, fetch=fetch, source="test", checkpoint=checkpoint)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
