"""`python -m chaos`, with tests/ on the path: kills everything, again and again, and counts what was lost.

Exit status 1: anything was.

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

from chaos.report import table
from chaos.run import Result, Run
from chaos.schedule import Options, counted, schedule
from support.kafka import process_missing


def main() -> int:
    arguments = _arguments()
    if (missing := process_missing()) and not arguments.show:
        sys.exit(missing)
    if arguments.store == "s3" and "CREWMEM_TEST_S3" not in os.environ:
        sys.exit("CREWMEM_TEST_S3 names no versitygw binary")
    options = Options(
        seed=arguments.seed, events=arguments.events, kills=arguments.kills, store=arguments.store, rate=arguments.rate,
        without=tuple(filter(None, arguments.without.split(","))), widen=arguments.widen,
    )  # fmt: skip
    steps = schedule(options)
    print(f"seed {options.seed}: " + ", ".join(f"{count} {name}" for name, count in sorted(counted(steps).items())), flush=True)
    if arguments.show:
        print(*steps, sep="\n")
        return 0
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, filename=folder / "run.log", format="%(asctime)s %(name)s %(message)s")
    print(f"logs in {folder}", flush=True)
    result = asyncio.run(_run(options, folder))
    print(table(result))
    failed = result.findings.counts.total() > 0
    if not failed and arguments.folder is None:
        shutil.rmtree(folder)
    return int(failed)


async def _run(options: Options, folder: Path) -> Result:
    """Told to stop, it leaves no process behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await Run(options, folder).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="the same seed gives the same schedule")
    parser.add_argument("--events", type=int, default=53_000, help="of which one in twenty is a repeat")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--store", choices=("folder", "s3"), default="folder")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second, at most")
    parser.add_argument("--without", default="", help="guards to take out: order,seek,merge (must be caught)")
    parser.add_argument("--widen", type=float, default=0.0, help="seconds that each write stands still at its borders")
    parser.add_argument("--show", action="store_true", help="print the schedule, and run nothing")
    parser.add_argument(
        "--folder", type=Path, help="where logs and data go, and stay; default: a new one, removed if all is well"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
