"""`crewmem dlq`: events that could not be processed, and what is to become of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.display import visible_line
from crewmem_producers.errors import SettingsError
from crewmem_producers.events import utc_now
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.letter_text import described, shortened
from crewmem.cli.letters import Desk, check, condition_of, desk, select
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar

if TYPE_CHECKING:
    from crewmem_consumers.letter_box import Letter
    from crewmem_consumers.letter_conditions import LetterCondition
    from crewmem_consumers.redrive import Ref
    from crewmem_producers.log import LoggedRecord, Position

    Act = Callable[[Desk, Sequence[Letter], str], Awaitable[list[Position]]]

_LINES = 20
"""Letters that are named one by one; what there are more is only counted."""

app = typer.Typer(help="Dead letters: events that could not be processed.", no_args_is_help=True)

Ids = Annotated[
    list[str] | None, typer.Argument(help="Event ids, or positions such as 3/1207.", metavar="[ID]...", show_default=False)
]
Where = Annotated[
    str | None,
    typer.Option("--where", help="A CEL condition, such as 'reason == \"newer_schema\"'.", show_default=False),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which letters it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_letters(
    where: Where = None,
    limit: Annotated[int, typer.Option(min=1, help="Letters to print, at most; --json prints all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Print the open dead letters; with --where those of every state that it holds for."""
    condition, now = condition_of(where), utc_now()
    letters = asyncio.run(_letters())
    chosen = select(letters, ids=(), where=condition, now=now)
    if condition is None:
        chosen = [letter for letter in chosen if letter.state.value == "open"]
    if as_json:
        print_json([letter.json(now) for letter in chosen])
        return
    columns = ("position", "reason", "type", "event", "tenant", "session", "logged", "state", "why")
    if chosen:
        print_table(columns, [_row(letter) for letter in chosen[:limit]])
    if len(chosen) > limit:
        note(f"and {len(chosen) - limit} more: --limit {len(chosen)} prints all of them", style="yellow")
    states = Counter(letter.state.value for letter in letters)
    said = ", ".join(f"{states[state]} {state}" for state in ("open", "redriven", "discarded", "processed") if states[state])
    note(said or "there are no dead letters")


@app.command()
def show(ids: Ids = None, where: Where = None, as_json: AsJson = False) -> None:
    """Print dead letters in full: where and why, their headers, and their body as far as it can be read."""
    condition = _chosen(ids, where)
    shown = asyncio.run(_show(ids or (), condition))
    if as_json:
        print_json(shown)
        return
    for letter in shown:
        place = letter["position"]
        say(f"{place['partition']}/{place['offset']}  {visible_line(letter['reason'])}  ({letter['state']})", style="bold")
        rows = [(name, letter[name]) for name in ("detail", "type", "event_id", "tenant", "session", "time", "bytes")]
        print_table(("", ""), [*rows, *letter["headers"]])
        say(letter["body"])


@app.command()
def redrive(
    ids: Ids = None, where: Where = None, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False
) -> None:  # fmt: skip
    """Put dead letters on the log again, to be processed anew; --where takes the open ones that it holds for."""
    # Whoever names a letter may take back that it was discarded; a condition means what is still to be settled.
    states = ("open", "discarded") if ids else ("open",)
    settle = Settle(ids or (), _chosen(ids, where), states, "redriven", question_from=2)
    settle.run(_redriven, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None, where: Where = None, dry_run: DryRun = False, yes: Yes = False, as_json: AsJson = False
) -> None:  # fmt: skip
    """Say that dead letters are of no use: they count as settled from then on, and stay on their log."""
    settle = Settle(ids or (), _chosen(ids, where), ("open",), "discarded", question_from=1)
    settle.run(_discarded, dry_run=dry_run, yes=yes, as_json=as_json)


@dataclass(frozen=True, slots=True)
class Settle:
    """One run of redrive or discard: which letters, in which `states`, become what; from how many on it asks."""

    ids: Sequence[str]
    condition: LetterCondition | None
    states: tuple[str, ...]
    becomes: str
    question_from: int

    def run(self, act: Act, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        """Does it and prints what was done. Raises SettingsError where a question was not answered with yes."""
        done, others = asyncio.run(self._settle(act, dry_run=dry_run, yes=yes))
        if as_json:
            skipped = [{"position": letter.position._asdict(), "state": letter.state.value} for letter in others]
            positions = [letter.position._asdict() for letter in done]
            print_json({self.becomes: positions, "skipped": skipped, "dry_run": dry_run})
            return
        verb = f"would be {self.becomes}" if dry_run else self.becomes
        for letter in done[:_LINES]:
            say(f"{verb}: {letter.position} {visible_line(letter.event_id)}".rstrip())
        if len(done) != 1:
            say(f"{len(done)} dead letters {verb}")
        for state, count in sorted(Counter(letter.state.value for letter in others).items()):
            note(f"{count} left as they are: {state} already", style="yellow")

    async def _settle(self, act: Act, *, dry_run: bool, yes: bool) -> tuple[list[Letter], list[Letter]]:
        """The letters that were settled, and those that were chosen and are settled already."""
        settings = load(StoreSettings)
        async with desk(settings) as opened:
            chosen = select(await opened.letters(), ids=self.ids, where=self.condition, now=utc_now())
            fresh = [letter for letter in chosen if letter.state.value in self.states]
            check(fresh, partitions=opened.log.partitions)
            if fresh and not dry_run:
                if len(fresh) >= self.question_from and not yes:
                    self._ask(len(fresh))
                done = set(await act(opened, fresh, settings.source))
                fresh = [letter for letter in fresh if letter.position in done]
        return fresh, [letter for letter in chosen if letter.state.value not in self.states]

    def _ask(self, count: int) -> None:
        try:
            typer.confirm(
                f"{count} dead {'letter is' if count == 1 else 'letters are'} to be {self.becomes}: go on?",
                abort=True,
                err=True,
            )
        except typer.Abort as error:
            raise SettingsError(f"nothing was {self.becomes}; give --yes to do it without being asked") from error


async def _redriven(desk: Desk, letters: Sequence[Letter], source: str) -> list[Position]:
    from crewmem_consumers.redrive import redrive as append

    places = {letter.position: letter for letter in letters}

    async def fetch(ref: Ref) -> LoggedRecord:
        return await desk.sent(places[ref.position])

    with progress_bar() as show:
        return await append(
            [letter.ref for letter in letters], log=desk.log, fetch=fetch, source=source,
            progress=lambda done: show("redriving", done, len(letters)),
        )  # fmt: skip


async def _discarded(desk: Desk, letters: Sequence[Letter], source: str) -> list[Position]:
    from crewmem_consumers.redrive import discard as append

    return await append([letter.ref for letter in letters], log=desk.log, source=source)


def _chosen(ids: Sequence[str] | None, where: str | None) -> LetterCondition | None:
    if not ids and where is None:
        raise typer.BadParameter("give ids, or --where CONDITION (--where true takes every one)")
    return condition_of(where)


async def _letters() -> list[Letter]:
    async with desk(load(StoreSettings)) as opened:
        return await opened.letters()


async def _show(ids: Sequence[str], condition: LetterCondition | None) -> list[dict[str, Any]]:
    now = utc_now()
    async with desk(load(StoreSettings)) as opened:
        chosen = select(await opened.letters(), ids=ids, where=condition, now=now)
        return [letter.json(now) | described(await opened.sent(letter), keyring=opened.keyring) for letter in chosen]


def _row(letter: Letter) -> tuple[Any, ...]:
    session = f"({letter.sealed})" if letter.sealed else letter.session
    kind = (letter.type or "").removeprefix("crewmem.")
    logged = f"{letter.time:%Y-%m-%d %H:%M}"
    cells = (letter.reason, kind, letter.event_id, letter.tenant, session, logged, letter.state, shortened(letter.detail))
    return str(letter.position), *cells
