"""`crewmem rules`: what is kept, as what and why."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from crewmem_producers.log import Position
from crewmem_producers.settings import KafkaSettings, StoreSettings, load
from crewmem_producers.writer import shown

from crewmem.cli import parts
from crewmem.cli.applied import apply_rules
from crewmem.cli.console import counted, note, print_json, print_table, say
from crewmem.cli.explain import Explained
from crewmem.cli.explain import explain as explain_event
from crewmem.cli.options import AsJson, RuleFile
from crewmem.cli.rules_now import rules_now
from crewmem.cli.trial import try_rules

if TYPE_CHECKING:
    from crewmem_consumers.explain import Explanation
    from crewmem_consumers.rules import Rule, RuleSet

app = typer.Typer(help="The rules that decide what is remembered.", no_args_is_help=True)


@app.command()
def check(file: RuleFile, as_json: AsJson = False) -> None:
    """Check a rule file: every mistake is told with file, line and reason."""
    rules = _load(file)
    if as_json:
        print_json({"file": str(file), "sha256": rules.sha256, "rules": [_described(rule) for rule in rules.rules]})
        return
    columns = ("line", "rule", "action", "with", "why")
    print_table(columns, [(rule.line, rule.name, _action(rule), _with(rule), rule.why) for rule in rules.rules])
    say(f"{file}: {counted(len(rules.rules), 'rule')}, no mistake")


@app.command()
def show(
    default: Annotated[bool, typer.Option("--default", help="The rules that ship with crewmem, in force or not.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the rule file that is in force, to look at or to begin one's own with."""
    from crewmem_consumers.rules import DEFAULT_RULES, RuleSet

    applied = None if default else asyncio.run(rules_now(load(StoreSettings)))
    rules = RuleSet.parse(applied or DEFAULT_RULES, applied=True)
    ships = rules.text == DEFAULT_RULES
    if as_json:
        described = [_described(rule) for rule in rules.rules]
        print_json({"sha256": rules.sha256, "default": ships, "rules": described, "text": rules.text})
        return
    say(rules.text.rstrip("\n"))
    for rule in rules.rules:
        if rule.condition.refused is not None:
            note(f"line {rule.line}: rule {rule.name} is passed over: {rule.condition.refused}", style="yellow")
    if not default:
        note(f"in force: {'the default rules' if ships else 'rules that were applied'} ({rules.sha256[:12]})")


app.command("try")(try_rules)


@app.command()
def apply(file: RuleFile, as_json: AsJson = False) -> None:
    """Put a rule file in force: from now on it decides, on every consumer."""
    rules = _load(file)
    settings = load(KafkaSettings)

    async def applied() -> list[Position]:
        async with parts.existing_log(settings) as log:
            return await apply_rules(log, rules.text, source=settings.source)

    positions = asyncio.run(applied())
    if as_json:
        print_json({"sha256": rules.sha256, "positions": [position._asdict() for position in positions]})
        return
    say(f"{file} ({rules.sha256[:12]}) decides from here on: {', '.join(f'{p.partition}/{p.offset}' for p in positions)}")
    note("what was decided before stays; `crewmem replay` decides everything anew with it")


@app.command()
def explain(
    event: Annotated[str, typer.Argument(help="Id of an event; `crewmem events show` takes a position, too.")],
    as_json: AsJson = False,
) -> None:
    """Say what became of an event: which rule decided each piece of it, and why."""
    explained = asyncio.run(_explain(event, load(StoreSettings)))
    if as_json:
        print_json([record.json() for record in explained])
        return
    for record in explained:
        when = f", {record.time:%Y-%m-%d %H:%M:%S} UTC" if record.time else ""
        by = f", written by {shown(record.writer)}" if record.spans else ""
        say(f"{record.type or 'record'} at {record.partition}/{record.offset}{when}{by}: {record.outcome}", style="bold")
        if record.reason or record.detail:
            say(": ".join(part for part in (record.reason, record.detail) if part))
        _print_spans(record)


async def _explain(event: str, settings: StoreSettings) -> list[Explained]:
    from crewmem_producers.connect import open_keyring
    from crewmem_store import generations

    async with parts.existing_log(settings) as log, parts.registry(settings) as registry, parts.store(settings) as store:
        active = generations.active(registry)
        keyring = open_keyring(settings, registry)
        return await explain_event(event, log=log, reader=store.reader(active.name), generation=active, keyring=keyring)


def _print_spans(record: Explained) -> None:
    if record.spans:
        columns = ("piece", "outcome", "rule", "why", "kept as", "until", "redacted", "memory")
        print_table(columns, [_span(span, record) for span in record.spans])
    for span in record.spans:
        for error in span.errors:
            note(f"{span.span}: a rule could not be evaluated and was passed over: {error}", style="yellow")


def _span(span: Explanation, record: Explained) -> tuple[Any, ...]:
    stored = span.outcome == "stored"
    until = span.expires_at.strftime("%Y-%m-%d") if span.expires_at else "for good"
    memory = f"repeats {span.duplicate_of}" if span.duplicate_of else span.memory_id
    if stored and span.memory_id not in record.contents:
        memory = f"{span.memory_id} (forgotten since)"
    kept = (span.kind, until, ", ".join(span.redacted), memory) if span.keeps else ("", "", "", "")
    return span.span, span.outcome, span.rule, span.why, *kept


def _load(file: Path) -> RuleSet:
    from crewmem_consumers.rules import RuleSet

    return RuleSet.load(file)


def _action(rule: Rule) -> str:
    return "keep" if rule.keeps else "drop"


def _with(rule: Rule) -> str:
    return ", ".join(f"{name}={_said(value)}" for name, value in rule.keep.model_dump(exclude_unset=True).items())


def _said(value: object) -> object:
    """A time to live as rule files write it."""
    return f"{value.total_seconds() / 86_400:g}d" if isinstance(value, timedelta) else value


def _described(rule: Rule) -> dict[str, Any]:
    settled = rule.keep.model_dump(mode="json", exclude_unset=True)
    return {"line": rule.line, "name": rule.name, "action": _action(rule), "with": settled, "why": rule.why}
