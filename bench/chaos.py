"""Is anything lost, doubled, leaked or back when everything is killed? The table of `make chaos`; needs KAFKA_HOME and Java.

python bench/chaos.py [--full]    (640 events, minutes; with --full 53,000 events and 200 kills, about 20 minutes)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
SEED = 20261123
SHORT = ("--events", "640", "--kills", "8", "--rate", "40")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    more = () if parser.parse_args().full else SHORT
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "chaos", "--seed", str(SEED), *more]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode


if __name__ == "__main__":
    sys.exit(main())
