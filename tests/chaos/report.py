"""What a run prints: a section of Markdown with the table."""

from __future__ import annotations

from chaos.findings import KINDS
from chaos.run import Result
from chaos.schedule import Options


def section(result: Result) -> str:
    """What was done, then what must all be 0, and the first of what is not, in words."""
    counts = result.findings.counts
    lines = ["## What is lost when everything is killed, again and again?", "", setting(result.options), ""]
    if not result.ended:
        lines += [f"**Not finished**: it ended at {result.at}. What must be 0 was checked up to there only.", ""]
    so_far = "" if result.ended else " so far"
    lines += ["| what must be 0 | | |", "|---|---|---|"]
    lines += [f"| {kind} | **{counts[kind]}**{so_far} | {says} |" for kind, says in KINDS.items()]
    lines += ["", "| what was done | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in result.counts.items()]
    lines += [f"| {name}, seconds | {value:.0f} |" for name, value in result.seconds.items()]
    return "\n".join(lines)


def setting(options: Options) -> str:
    """What ran, and the command that runs it again."""
    where = "an S3 server that is killed too" if options.store == "s3" else "a folder"
    without = f", without the guards {', '.join(options.without)}" if options.without else ""
    return (
        "Three brokers, three consumers, two recall services, eight publishers over both transports, sealed, while one tenant "
        f"attacks through every door; the store in {where}{without}. "
        f'`make chaos ARGS="{arguments(options)}"` runs this schedule again.'
    )


def arguments(options: Options) -> str:
    """The command line of these options, those left out that are as they are by themselves."""
    said, usual = [f"--seed {options.seed}"], Options(seed=options.seed)
    for name in ("events", "kills", "store", "rate", "widen"):
        if (value := getattr(options, name)) != getattr(usual, name):
            said.append(f"--{name} {value:g}" if isinstance(value, float) else f"--{name} {value}")
    if options.without:
        said.append(f"--without {','.join(options.without)}")
    return " ".join(said)


def trouble(result: Result) -> str:
    """What one needs to find out what went wrong."""
    lines = [
        f"seed {result.options.seed}, at {result.at}: {result.findings.counts.total()} faults",
        f'again: make chaos ARGS="{arguments(result.options)}"',
        f"logs: {result.folder} (conductor.log says what was done when; one file a process and start)",
    ]
    return "\n".join([*lines, *result.findings.said])
