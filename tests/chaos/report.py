"""The table of a run."""

from __future__ import annotations

from chaos.check import KINDS
from chaos.run import Result


def table(result: Result) -> str:
    """Counts first, then seconds, then what must all be 0, and the first of what is not, in words."""
    options, lines = result.options, []
    lines.append(f"seed {options.seed}, {options.events} events, store {options.store}, without {options.without or 'nothing'}")
    lines += [f"{name:34} {value}" for name, value in result.counts.items()]
    lines += [f"{name:34} {value:.0f} s" for name, value in result.seconds.items()]
    lines += [f"{kind:34} {result.findings.counts[kind]}" for kind in KINDS]
    return "\n".join([*lines, *result.findings.said])
