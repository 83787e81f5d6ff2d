"""`python -m chaos`, with tests/ on the path: kills everything, again and again, and counts what was lost.

Prints a section of Markdown with the table; progress and what went wrong go to stderr. Exit status 1: something did.

make chaos ARGS="--seed 7 --events 50000 --kills 200 --store folder"
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos.report import section, trouble
from chaos.run import Run
from chaos.schedule import Options, counted, schedule
from support.kafka import process_missing


def main() -> int:
    os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
    arguments = parser().parse_args()
    if (missing := process_missing()) and not arguments.show:
        sys.exit(missing)
    if arguments.store == "s3" and "CREWMEM_TEST_S3" not in os.environ:
        sys.exit("CREWMEM_TEST_S3 names no versitygw binary")
    options = options_of(arguments)
    steps = schedule(options)
    _say(f"seed {options.seed}: " + ", ".join(f"{count} {name}" for name, count in sorted(counted(steps).items())))
    if arguments.show:
        print(*steps, sep="\n")
        return 0
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, filename=folder / "run.log", format="%(asctime)s %(name)s %(message)s")
    _say(f"logs in {folder}")
    run, ended = Run(options, folder), False
    try:
        asyncio.run(_to_its_end(run))
        ended = True
    finally:
        print(section(run.result), flush=True)
        well = ended and not run.result.findings.counts
        if not well:
            _say(trouble(run.result))
    if well and arguments.folder is None:
        shutil.rmtree(folder)
    return int(not well)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


async def _to_its_end(run: Run) -> None:
    """Told to stop, it leaves no process behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run.run()


def options_of(arguments: argparse.Namespace) -> Options:
    """The run that a command line asks for."""
    return Options(
        seed=arguments.seed, events=arguments.events, kills=arguments.kills, store=arguments.store, rate=arguments.rate,
        without=tuple(filter(None, arguments.without.split(","))), widen=arguments.widen,
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="the same seed gives the same schedule")
    parser.add_argument("--events", type=int, default=53_000, help="of which one in twenty is a repeat")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=("folder", "s3"), default="folder")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second, at most")
    parser.add_argument("--without", default="", help="guards to take out, of order,seek,merge; it must be caught")
    parser.add_argument("--widen", type=float, default=0.0, help="seconds that each write stands still at its borders")
    parser.add_argument("--show", action="store_true", help="print the schedule, and run nothing")
    parser.add_argument(
        "--folder", type=Path, help="where logs and data go, and stay; default: a new one, removed if all is well"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
