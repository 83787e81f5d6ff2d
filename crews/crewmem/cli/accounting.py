"""`crewmem accounting`: whether every record of the log has exactly one outcome, and the store holds what it says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.display import visible_line
from crewmem_producers.events import utc_now
from crewmem_producers.registry import Registry
from crewmem_producers.settings import StoreSettings, load

from crewmem.cli import parts
from crewmem.cli.console import note, print_json, print_table, say
from crewmem.cli.errors import CheckFailed
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar

if TYPE_CHECKING:
    from crewmem_store.accounting import Account, PartitionAccount, Step, Verified
    from crewmem_store.generations import Generation

_NO_GENERATION = "no generation yet: start a consumer (`crewmem up` or `crewmem consume`)"
_SHOWN = 100
"""Misfits that are printed; `--json` prints all that are named."""

_Said = list[tuple["Account", "Verified | None"]]


def accounting(
    generation: Annotated[
        str | None, typer.Option(help="Only this one, such as g2; without it every one that lives.", show_default=False)
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Walk log, ledger and store, and name every position that does not fit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what became of every record of the log, and whether the sum closes; exit code 1 when anything is missing or doubled.

    It may run while consumers do. Records that still wait are no error.
    """
    found = asyncio.run(_account(load(StoreSettings), only=generation, walk=verify))
    if as_json:
        print_json([account.json() | ({"verified": walked.json()} if walked else {}) for account, walked in found])
    else:
        if not found:
            note(_NO_GENERATION)
        for account, walked in found:
            _print(account, walked)
    open_ones = [account.generation for account, walked in found if not account.closes or (walked and not walked.closes)]
    if open_ones:
        raise CheckFailed(
            f"the account of {', '.join(open_ones)} does not close; `crewmem replay` computes the memory again from the log"
        )  # fmt: skip


async def _account(settings: StoreSettings, *, only: str | None, walk: bool) -> _Said:
    from crewmem_producers.connect import open_keyring
    from crewmem_store.accounting import account
    from crewmem_store.accounting import verify as walk_through

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        keyring, found = open_keyring(settings, registry), []
        for one in _chosen(registry, only):
            reader = store.reader(one.name)
            numbers = await account(log, reader, one, now=utc_now())
            walked = None
            if walk:
                with _bar(one.name, numbers) as show:
                    walked = await walk_through(log, reader, one, keyring=keyring, progress=show)
            found.append((numbers, walked))
        return found


def _chosen(registry: Registry, only: str | None) -> Sequence[Generation]:
    from crewmem_store import generations

    return generations.live(registry) if only is None else [generations.named(registry, only)]


@contextmanager
def _bar(generation: str, account: Account) -> Iterator[Callable[[Step], None]]:
    """Shows how far a walk is, over all partitions."""
    done = {one.partition: 0 for one in account.partitions}
    total = {one.partition: one.position for one in account.partitions}
    with progress_bar() as show:

        def step(step: Step) -> None:
            done[step.partition], total[step.partition] = step.done, step.total
            show(f"comparing log, ledger and store of {generation}", sum(done.values()), sum(total.values()))

        yield step


def _print(account: Account, walked: Verified | None) -> None:
    say(f"generation {account.generation}: {_verdict(account, walked)}", style="bold")
    rows: list[tuple[Any, ...]] = [
        (one.partition, f"{one.log_start} to {one.log_end}", one.processed, _outcomes(one), one.lag, _age(one), _wrong(one))
        for one in account.partitions
    ]
    print_table(("partition", "offsets", "processed", "outcomes", "to do", "waits for", ""), rows)
    for sentence in _notes(account.partitions):
        note(sentence, style="yellow")
    if walked is None:
        return
    records, rows_read = (sum(getattr(one, name) for one in walked.partitions) for name in ("records", "rows"))
    say(f"compared {records} records of the log with the ledger, and the ledger with {rows_read} rows of memory")
    for misfit in walked.misfits[:_SHOWN]:
        say(visible_line(misfit), style="red")
    if (more := sum(walked.counts.values()) - min(_SHOWN, len(walked.misfits))) > 0:
        note(f"and {more} more, by kind {', '.join(f'{n} {kind}' for kind, n in walked.counts.items())}: --json names them")


def _verdict(account: Account, walked: Verified | None) -> str:
    if not account.closes:
        return "the sum does not close"
    if walked is None:
        return "the sum closes"
    return "everything fits" if walked.closes else f"{sum(walked.counts.values())} things do not fit"


def _outcomes(one: PartitionAccount) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(one.outcomes.items()))


def _age(one: PartitionAccount) -> str:
    return f"{one.oldest_unprocessed_seconds:.0f} s" if one.lag else ""


def _wrong(one: PartitionAccount) -> str:
    wrong = {"missing": one.missing, "doubled": one.doubled, "lost": one.lost, "not on the log": one.beyond_log}
    return ", ".join(f"{count} {name}" for name, count in wrong.items() if count)


def _notes(partitions: Sequence[PartitionAccount]) -> Iterator[str]:
    """What is no error, and is said."""
    if lag := sum(one.lag for one in partitions):
        yield f"{lag} records still wait to be processed"
    for one in partitions:
        if one.log_start:
            yield (
                f"partition {one.partition}: the log starts at {one.log_start}; {one.before_log} records before it are in the "
                "ledger and cannot be compared, or computed again"
            )
    letters = sum((Counter(one.dead_letters) for one in partitions), Counter[str]())
    if letters["open"]:
        yield f"{letters['open']} dead letters are open: `crewmem dlq list` shows them"
