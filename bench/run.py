"""Runs every benchmark and writes what came out, with date, machine and versions, to bench/README.md.

python bench/run.py [--full] [NAME ...]    (NAME: a script's name without .py; the others keep the section they have)
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PAGE = BENCH / "README.md"
NAMES = sorted(path.stem for path in BENCH.glob("*.py") if path.stem != "run" and not path.stem.startswith("_"))
NEEDS = {"chaos": "KAFKA_HOME"}
"""Script -> the variable without which it cannot run."""
VERSIONS = ("crewmem", "crewai", "faststream", "aiokafka", "lancedb", "sentence-transformers", "torch")
HEAD = """# What was measured

Each script answers one question and measures its floor (the bare encoder, the bare table, the bare crew) in the same run, in
alternating rounds; absolute figures mean little on shared machines, ratios hold. `make bench` runs the short form of every
script, `make bench-full` the long one; one alone: `python bench/run.py NAME`. `chaos` runs where `KAFKA_HOME` says where Apache
Kafka is; its long form takes 20 minutes.
"""


def sections() -> dict[str, str]:
    """The page's sections by script name, as they are now."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=\n<!-- |\Z)", text, re.S))


def machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {versions}"


def measure(name: str, *, full: bool) -> str:
    """The section that a script prints. Raises CalledProcessError when the script fails."""
    command = [sys.executable, str(BENCH / f"{name}.py"), *(["--full"] if full else [])]
    began = time.monotonic()
    print(f"{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    done.check_returncode()
    out = done.stdout.strip()
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    shown = f"python bench/{name}.py" + (" --full" if full else "")
    return f"{out}\n\n`{shown}`, {datetime.now(UTC):%Y-%m-%d}; {machine()}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    found = sections()
    for name in arguments.names or NAMES:
        if not arguments.names and name in NEEDS and NEEDS[name] not in os.environ:
            print(f"{name}: left as it is, since {NEEDS[name]} is not set", file=sys.stderr)
            continue
        found[name] = measure(name, full=arguments.full)
        body = "\n".join(f"<!-- {key} -->\n{found[key].strip()}\n" for key in NAMES if key in found)
        PAGE.write_text(f"{HEAD}\n{body}", "utf-8")
    print(f"written to {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main()
