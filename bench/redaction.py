"""How much of what is secret does redaction find, how much of what is not does it change, and what does a text cost?

The labelled texts are those of the tests (made up, none is a real secret; tests/support/labelled_texts.py). The floor is one
pass of one of its patterns over the same texts: the least that any redaction by patterns does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from crewmem_consumers.redaction import redact_text
from crewmem_consumers.secret_formats import KEY

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from support.labelled_texts import harmless_texts, left_over, secret_texts

LEAST_RECALL, MOST_CHANGED = 0.95, 0.01
APART = """Written without a look at the program, 96 of these texts with 98 secrets and 155 of the harmless ones said on
2026-12-01 how it does on texts that it was not made for: over 20 draws of the secrets .948 were found, and 1 of 155 (.006) was
changed. The kinds that were missed were added since."""


def took(work: Callable[[str], object], texts: list[str]) -> float:
    """CPU seconds."""
    began = time.process_time()
    for text in texts:
        work(text)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more rounds")
    rounds = 20 if parser.parse_args().full else 5
    secrets, harmless = secret_texts(), [one.text for one in harmless_texts()]
    wanted = sum(len(one.secrets) for one in secrets)
    missed = sum(len(left_over(one, redact_text(one.text))) for one in secrets)
    changed = sum(redact_text(text) != text for text in harmless)
    output = "\n".join(harmless)[:50_000]
    texts = [output[start : start + 5_000] for start in range(0, len(output), 5_000)] + [one.text for one in secrets]
    kilobytes = sum(len(text.encode()) for text in texts) / 1024
    ours, floor = [], []
    for _ in range(rounds):  # alternating
        ours.append(took(redact_text, texts))
        floor.append(took(KEY.search, texts))
    print("## What does redaction find, what does it change, and what does it cost?\n")
    print("| | | goal |\n|---|---|---|")
    print(f"| secrets found | {1 - missed / wanted:.3f} of {wanted} in {len(secrets)} texts | at least {LEAST_RECALL} |")
    print(f"| harmless texts changed | {changed / len(harmless):.4f} of {len(harmless)} | at most {MOST_CHANGED} |")
    cost, bare = (statistics.median(one) / kilobytes * 1e6 for one in (ours, floor))
    ratios = sorted(one / other for one, other in zip(ours, floor, strict=True))
    print(f"| CPU time | {cost:.0f} µs a kB | |")
    print(f"| against one pass of one pattern ({bare:.1f} µs a kB) | {statistics.median(ratios):.0f} times ({ratios[0]:.0f} to "
          f"{ratios[-1]:.0f} in {rounds} rounds) | |")  # fmt: skip
    print(f"\n{APART}")


if __name__ == "__main__":
    main()
