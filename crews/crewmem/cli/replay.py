"""`crewmem replay`: memory computed again from the log."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from crewmem_producers.settings import ConsumerSettings, load
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crewmem.cli import parts
from crewmem.cli.console import err, note, print_json, say
from crewmem.cli.options import AsJson

if TYPE_CHECKING:
    from crewmem_consumers.replay import Replayed


def replay(
    embedder: Annotated[str | None, typer.Option(help="Embedder of the new generation.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compute all memory again from the log, with the newest rules, and switch every reader to it.

    Stop consumers first. What is interrupted goes on where it was when it is run again.
    """
    settings = load(ConsumerSettings, embedder=embedder)
    done = asyncio.run(_replay(settings))
    if as_json:
        print_json(asdict(done))
        return
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.outcomes.items()))
    say(f"{done.generation} answers recalls now" + (f", instead of {done.replaced}" if done.replaced else ""))
    say(f"{done.records} records: {outcomes or 'none'}; {done.embedded} texts embedded, {done.reused} vectors taken over")
    if settings.embedder != load(ConsumerSettings).embedder:
        note(f"start consumers and services with CREWMEM_EMBEDDER={settings.embedder} from now on", style="bold")


async def _replay(settings: ConsumerSettings) -> Replayed:
    from crewmem_consumers.replay import Progress as Step
    from crewmem_consumers.replay import replay as run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with parts.existing_log(settings) as log:
        with Progress(*columns, console=(shown := err()), transient=True, disable=not shown.is_terminal) as bar:
            task = bar.add_task("opening", total=None)

            def show(step: Step) -> None:
                bar.update(task, description=f"building {step.generation}", completed=step.done, total=step.total)

            return await run(settings, progress=show, log=log)
