"""`crewmem topics`: the topics on Apache Kafka."""

from __future__ import annotations

import asyncio

import typer
from crewmem_producers.errors import SettingsError
from crewmem_producers.settings import KafkaSettings, load

from crewmem.cli import parts
from crewmem.cli.applied import apply_default_rules
from crewmem.cli.console import note, print_json, say
from crewmem.cli.options import AsJson

app = typer.Typer(help="The topics on Apache Kafka.", no_args_is_help=True)


@app.callback()
def topics() -> None:
    """The topics on Apache Kafka."""


@app.command()
def create(as_json: AsJson = False) -> None:
    """Make the topics, or check those that are there; a new log gets the default rules."""
    settings = load(KafkaSettings)
    if not settings.kafka_bootstrap:
        raise SettingsError("CREWMEM_KAFKA_BOOTSTRAP is not set; without a broker there are no topics to make (`crewmem up`)")
    warnings, partitions, applied = asyncio.run(_create(settings))
    for warning in warnings:
        note(warning, style="yellow")
    if as_json:
        print_json({"partitions": partitions, "warnings": warnings, "default_rules_applied": applied})
        return
    say(f"the topics of namespace {settings.namespace} are as crewmem needs them; events have {partitions} partitions")
    if applied:
        say("the default rules are in force")


async def _create(settings: KafkaSettings) -> tuple[list[str], int, bool]:
    from crewmem_producers.topics import ensure_topics

    warnings = await ensure_topics(settings, wait=parts.broker_wait(settings.kafka_wait_seconds))
    async with parts.event_log(settings) as log:
        applied = await apply_default_rules(log, source=settings.source)
        return warnings, log.partitions, bool(applied)
