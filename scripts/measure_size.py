"""Measures the rates of `crewmem size` on this machine and writes them into crews/crewmem/cli/sizing/measured.py; then
`make docs` writes docs/size.md. Takes about four minutes on two idle cores: python scripts/measure_size.py

MERGE_SECONDS there comes from bench/merge.py, by hand.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from crewmem.cli.sizing.measure import measure
from crewmem.cli.sizing.rates import Point, Rates
from crewmem_producers.settings import ConsumerSettings, load

PAGE = Path(__file__).resolve().parents[1] / "crews/crewmem/cli/sizing/measured.py"
WORDS = (60, 600, 3_000)


def main() -> None:
    found = []
    for words in WORDS:
        found.append(measure(words, settings=load(ConsumerSettings)))
        print(f"{words} words: {found[-1].points[0]}", file=sys.stderr)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(
        re.sub(r"^RATES = .*?^\)$", lambda _: written(found), text, count=1, flags=re.DOTALL | re.MULTILINE), "utf-8"
    )


def written(found: list[Rates]) -> str:
    """The assignment to RATES. What a service takes is that of the first: later ones ran in the same process."""
    source = "\n".join(f'        "{line}"' for line in textwrap.wrap(found[0].source, 110, drop_whitespace=False))
    points = "\n".join(f"        {shown(rates.points[0])}," for rates in found)
    return (
        f"RATES = Rates(\n    source=(\n{source}\n    ),\n    service_bytes={found[0].service_bytes / 1e6:.0f}e6,\n"
        f"    points=(\n{points}\n    ),\n)"
    )


def shown(point: Point) -> str:
    """To four figures, as it is written by hand."""
    return (
        f"Point(words={point.words:_}, log_bytes={rounded(point.log_bytes)}, store_bytes={rounded(point.store_bytes)}, "
        f"cpu_seconds={point.cpu_seconds:.4f}, memories={point.memories:.1f}, memory_bytes={rounded(point.memory_bytes)})"
    )


def rounded(count: float) -> str:
    return f"{int(float(f'{count:.4g}')):_}"


if __name__ == "__main__":
    main()
