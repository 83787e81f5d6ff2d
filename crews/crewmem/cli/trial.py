"""`crewmem rules try`: what a rule file would make of the log, before it is in force."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from crewmem_producers.settings import ConsumerSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.options import AsJson, RuleFile
from crewmem.cli.progress import progress_bar
from crewmem.cli.replay import time_of

if TYPE_CHECKING:
    from crewmem_consumers.rules import RuleSet
    from crewmem_consumers.trial_report import Trial

SHOWN = 160
"""Characters of a sample."""


def try_rules(
    file: RuleFile,
    since: Annotated[
        str | None, typer.Option(help="Only events from this time on, such as 2026-01-31.", show_default=False)
    ] = None,
    samples: Annotated[int, typer.Option(help="Memories that are shown of each kind.", min=0)] = 5,
    as_json: AsJson = False,
) -> None:
    """Say what a rule file would keep and drop, and which memories would appear and disappear. Nothing is stored.

    What is compared is the memory that answers now. `crewmem rules apply` and then `crewmem replay` would make it so.
    """
    from crewmem_consumers.rules import RuleSet

    rules = RuleSet.load(file)
    trial = asyncio.run(_try(load(ConsumerSettings), rules, since=since, samples=samples))
    if as_json:
        print_json(asdict(trial))
        return
    _print(trial, rules)


async def _try(settings: ConsumerSettings, rules: RuleSet, *, since: str | None, samples: int) -> Trial:
    from crewmem_consumers.rules_trial import try_rules as run

    start = time_of(since)
    async with parts.existing_log(settings) as log:
        with progress_bar() as show:
            return await run(
                settings, rules, since=start, samples=samples, log=log, progress=partial(show, "deciding")
            )  # fmt: skip


def _print(trial: Trial, rules: RuleSet) -> None:
    actions = {rule.name: "keep" if rule.keeps else "drop" for rule in rules.rules}
    columns = ("rule", "action", "keeps events of", "drops events of", "kept now", "dropped now")
    lines = [(one.rule, actions.get(one.rule, ""), one.kept, one.dropped, one.kept_now, one.dropped_now) for one in trial.rules]
    print_table(columns, lines, title=f"{trial.events} events that can become memories")
    say(f"{trial.memories_now} memories now, {trial.memories_then} then")
    for what, count in trial.counts.items():
        say(f"{count} would {what}", style="bold")
        for sample in trial.samples[what]:
            say(f"  {sample.session}, {sample.kind}, rule {sample.rule or '(none)'}: {' '.join(sample.text.split())[:SHOWN]}")
    note("nothing was stored; `crewmem rules apply` puts the file in force, `crewmem replay` decides everything anew with it")
