"""docs/size.md, made by the command's own sums: `crewmem config docs size > docs/size.md`."""

from __future__ import annotations

from functools import partial

from crewmem.cli.sizing.command import rows
from crewmem.cli.sizing.measured import RATES, SEAL_BYTES
from crewmem.cli.sizing.sums import PARTITIONS, PEAK, REPLICAS, USE, need

DEPLOYMENTS = (1, 40, 400)
KICKOFFS_PER_DAY, SESSIONS_PER_DAY = 40, 10
OUTPUT_WORDS = (200, 600, 2000)

_HEAD = f"""\
# How much a fleet needs

<!-- made by `crewmem config docs size > docs/size.md`; do not edit -->

`crewmem size --kickoffs-per-day N --output-words W` turns measured rates into log and store a year, consumer cores, memory of a
recall service, and the time that a day's backlog takes. `--deployments D` (again for a column more) multiplies the kickoffs,
`--measure` takes the rates from this machine instead, with its own model and kickoffs of W words; that takes minutes.

Each table below is for deployments with {KICKOFFS_PER_DAY} kickoffs a day in {SESSIONS_PER_DAY} sessions. A kickoff has three
tasks, whose outputs have so many words together.
"""

_TAIL = f"""\
## What the figures hold and what not

- Rates: {RATES.source}.
  The texts are English prose that repeats nothing: duplicates, echoes and what rules drop make store and cores less. LLM
  summaries are not in them.
- The log is kept for ever, so it grows by this much every year. On Kafka it is there {REPLICAS} times with the usual
  replication. Its events are sealed; without a master key each is {SEAL_BYTES} bytes shorter, and there are no data keys.
- Data keys: one for each session, process that seals, and day. The figure is for one recall service; with S services behind
  one address it is up to S times as many, but never more than kickoffs, which is what is reckoned with where
  `--sessions-per-day` is not given. The registry keeps them as long as the log keeps the events, and every service and
  consumer holds them in memory.
- The store holds full contents, vectors of 384 dimensions and the ledger, once compacted. A replay doubles it for as long as
  both generations live; older versions of its tables add to it for minutes.
- Cores in use: at the end of the first year, with {PARTITIONS} partitions, each kickoff a commit of its own; a commit takes
  longer the more rows its table has (bench/README.md). Cores to have: {PEAK} times as many, for the busiest hours, each
  {USE:.0%} in use. On Kafka no more consumers can work than the topic has partitions.
- Memory of a recall service: the process with its model, and what it keeps of memories and of the store's indexes, which is
  bounded.
- The backlog is that of a day without any consumer, cleared by the cores to have, while nothing new arrives.
"""


def render() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_table(words) for words in OUTPUT_WORDS), _TAIL])


def _table(words: int) -> str:
    fleet = partial(need, RATES, kickoffs_per_day=KICKOFFS_PER_DAY, output_words=words, sessions_per_day=SESSIONS_PER_DAY)
    needs = [fleet(deployments=count) for count in DEPLOYMENTS]
    command = f"crewmem size --kickoffs-per-day {KICKOFFS_PER_DAY} --sessions-per-day {SESSIONS_PER_DAY} --output-words {words}"
    options = "".join(f" --deployments {count}" for count in DEPLOYMENTS)
    head = ["", *(f"{count} deployment{'s' if count > 1 else ''}" for count in DEPLOYMENTS)]
    lines = [head, ["---"] * len(head), *rows(needs)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {words} words a kickoff\n\n```sh\n{command}{options}\n```\n\n{table}\n"
