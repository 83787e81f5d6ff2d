"""`crewmem replay`: memory computed again from the log, while it serves."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from crewmem_producers.compat import UTC, iso_time
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import ConsumerSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, say
from crewmem.cli.exits import STOPPED
from crewmem.cli.garbage import look_for_cycles_rarely
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar

if TYPE_CHECKING:
    from crewmem_consumers.replay import Progress as Step
    from crewmem_consumers.replay import Replayed


def replay(
    embedder: Annotated[
        str | None, typer.Option(help="Move to another embedding model; without it the model stays.", show_default=False)
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Drop what happened before this time, such as 2026-01-31.", show_default=False)
    ] = None,
    activate: Annotated[bool, typer.Option(help="Let the new generation answer once it has caught up.")] = True,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on without the memories whose records the log no longer has.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compute all memory again from the log, with the newest rules, while it serves; then switch every reader to it.

    On Kafka consumers that run do it; where none does, and on one machine, this command does. It can be stopped, and goes
    on where it was when it is run again.
    """
    settings, start = load(ConsumerSettings), time_of(since)
    look_for_cycles_rarely()
    try:
        done = asyncio.run(_replay(settings, move_to=embedder, since=start, activate=activate, accept_loss=accept_loss))
    except KeyboardInterrupt:
        note("stopped: run it again to go on where it was (consumers that run go on by themselves)", style="bold")
        raise typer.Exit(STOPPED) from None
    if as_json:
        print_json(asdict(done))
        return
    _say(done)


def time_of(text: str | None) -> datetime | None:
    """A date or a time as ISO 8601 writes it, in UTC unless it says otherwise. Raises SettingsError."""
    if text is None:
        return None
    try:
        time = iso_time(text)
    except ValueError as error:
        raise SettingsError(f"--since {text}: a date or a time is needed, such as 2026-01-31 or 2026-01-31T12:00Z") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _say(done: Replayed) -> None:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.outcomes.items()))
    if done.activated:
        say(f"{done.generation} answers recalls now" + (f", instead of {done.replaced}" if done.replaced else ""))
    else:
        say(f"{done.generation} has caught up; `crewmem generations activate {done.generation}` lets it answer")
    say(f"{done.records} records: {outcomes or 'none'}")
    if done.embedded or done.reused:
        say(f"{done.embedded} texts embedded, {done.reused} vectors taken over")
    if done.replaced:
        note(f"{done.replaced} is kept up to date, so that you can go back, until `crewmem generations drop {done.replaced}`")


async def _replay(
    settings: ConsumerSettings, *, move_to: str | None, since: datetime | None, activate: bool, accept_loss: bool
) -> Replayed:
    from crewmem_consumers.replay import replay as run

    parts.check_log_exists(settings)
    with progress_bar() as show:

        def show_step(step: Step) -> None:
            who = "" if step.here else " by the consumers that run"
            away = f", waiting: {step.waits_for}" if step.waits_for else ""
            show(f"building {step.generation}{who}{away}", step.done, step.total)

        wait = parts.broker_wait(settings.kafka_wait_seconds)
        return await run(
            settings, move_to=move_to, since=since, activate=activate, accept_loss=accept_loss, progress=show_step, wait=wait
        )  # fmt: skip
