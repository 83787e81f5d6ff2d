"""The program `crewmem`: its commands, what every one of them checks first, and how an error ends it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from crewmem_producers.errors import CrewmemError, SettingsError, missing_extra
from crewmem_producers.kafka_noise import quiet_command
from crewmem_producers.settings import unknown_names
from typer.core import TyperGroup

from crewmem.cli import backup, config, dlq, events, generations, keys, outbox, rules, sessions, topics
from crewmem.cli.accounting import accounting
from crewmem.cli.console import note, say
from crewmem.cli.demo.command import demo
from crewmem.cli.digest import digest
from crewmem.cli.doctor import doctor
from crewmem.cli.exits import exit_code
from crewmem.cli.forget import forget
from crewmem.cli.memories import list_memories, recall
from crewmem.cli.producers import producers
from crewmem.cli.remember import remember
from crewmem.cli.replay import replay
from crewmem.cli.services import consume, serve
from crewmem.cli.sizing.command import size
from crewmem.cli.stats import stats
from crewmem.cli.up import up


class _Program(TyperGroup):
    """Ends every CrewmemError as its message on stderr and its exit code; so too a part that is not installed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CrewmemError as error:
            raise _ended(error) from error
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("crewmem"):
                raise
            raise _ended(missing_extra("all", error.name)) from error


def _ended(error: CrewmemError) -> typer.Exit:
    note(f"crewmem: {error}", style="red")
    return typer.Exit(exit_code(error))


app = typer.Typer(
    cls=_Program,
    name="crewmem",
    help="Durable shared memory for fleets of CrewAI crews.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    epilog=(
        "Exit codes: 0 done, 1 a check failed or something is left to do, 2 usage or setting, 3 unreachable, 4 refused with a "
        "remedy, 130 a replay was stopped with ctrl-C."
    ),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(version("crewmem"))
        raise typer.Exit


@app.callback()
def program(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    quiet_command()
    if unknown := unknown_names():
        raise SettingsError("\n".join(unknown))


app.command()(up)
app.command()(demo)
app.command()(serve)
app.command()(consume)
app.command()(remember)
app.command()(recall)
app.command("list")(list_memories)
app.command()(forget)
app.add_typer(rules.app, name="rules")
app.add_typer(dlq.app, name="dlq")
app.add_typer(topics.app, name="topics")
app.add_typer(keys.app, name="keys")
app.add_typer(outbox.app, name="outbox")
app.add_typer(events.app, name="events")
app.add_typer(sessions.app, name="sessions")
app.command()(producers)
app.command()(doctor)
app.command()(stats)
app.command()(digest)
app.command()(accounting)
app.command()(size)
app.command()(replay)
app.add_typer(generations.app, name="generations")
app.add_typer(backup.app, name="backup")
app.add_typer(config.app, name="config")
