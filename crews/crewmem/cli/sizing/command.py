"""`crewmem size`: log, store, cores and memory that a number of kickoffs needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer
from crewmem_producers.settings import ConsumerSettings, load

from crewmem.cli.console import note, print_json, print_table
from crewmem.cli.options import AsJson
from crewmem.cli.progress import progress_bar
from crewmem.cli.sizing.measured import RATES
from crewmem.cli.sizing.rates import Rates
from crewmem.cli.sizing.sums import Need, need


def size(
    kickoffs_per_day: Annotated[float, typer.Option(min=0.001, help="Kickoffs a day of one deployment.")],
    output_words: Annotated[int, typer.Option(min=3, help="Words of all task outputs of a kickoff together.")],
    deployments: Annotated[list[int] | None, typer.Option(min=1, help="Deployments; give it again for a column more.")] = None,
    sessions_per_day: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Sessions that one deployment writes to on a day; without it one a kickoff.", show_default=False
        ),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the rates on this machine: takes minutes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a fleet needs: log and store a year, consumer cores, recall memory, time to clear a day's backlog."""
    rates = _measured(output_words) if measure else RATES
    fleet = partial(
        need, rates, kickoffs_per_day=kickoffs_per_day, output_words=output_words, sessions_per_day=sessions_per_day
    )
    needs = [fleet(deployments=count) for count in deployments or [1]]
    if as_json:
        print_json({"source": rates.source, "output_words": output_words, "needs": [one.json() for one in needs]})
        return
    columns = ("", *(f"{one.deployments} deployment{'s' if one.deployments > 1 else ''}" for one in needs))
    print_table(columns, rows(needs))
    note(f"rates: {rates.source}")


def rows(needs: Sequence[Need]) -> list[tuple[str, ...]]:
    """A row a figure, a cell a fleet, as people read them."""
    return [
        ("kickoffs a day", *(f"{one.kickoffs_per_day:,.0f}" for one in needs)),
        ("memories a year", *(f"{one.memories_per_year:,.0f}" for one in needs)),
        ("log a year", *(_gb(one.log_gb_per_year) for one in needs)),
        ("log a year, three replicas", *(_gb(one.replicated_log_gb_per_year) for one in needs)),
        ("data keys a year", *(f"{one.data_keys_per_year:,.0f}" for one in needs)),
        ("registry a year", *(_gb(one.registry_gb_per_year) for one in needs)),
        ("memory for a year's data keys, each process", *(_gb(one.data_key_memory_gb) for one in needs)),
        ("store a year", *(_gb(one.store_gb_per_year) for one in needs)),
        ("consumer cores in use, on average", *(_cores(one.consumer_cores_mean) for one in needs)),
        ("consumer cores to have", *(str(one.consumer_cores) for one in needs)),
        ("memory of a recall service", *(_gb(one.recall_memory_gb) for one in needs)),
        ("time to clear a day's backlog", *(_time(one.backlog_minutes) for one in needs)),
    ]


def _measured(words: int) -> Rates:
    from crewmem.cli.sizing.measure import measure as run

    with progress_bar() as show:
        return run(words, settings=load(ConsumerSettings), progress=partial(show, "measuring"))


def _gb(gb: float) -> str:
    return f"{1000 * gb:.0f} MB" if gb < 1 else f"{gb:.1f} GB" if gb < 100 else f"{gb:,.0f} GB"


def _cores(cores: float) -> str:
    return f"{cores:.2f}" if cores >= 0.01 else "under 0.01"


def _time(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
