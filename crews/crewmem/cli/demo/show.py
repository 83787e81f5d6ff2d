"""How the demo prints: one heading an act, what the crews said, and tables of what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from crewmem_producers.compat import UTC
from crewmem_producers.display import display_name, visible, visible_line
from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from crewmem.cli.demo.claims import Claim
from crewmem.cli.explain import Explained

WIDTH = 110
LONG, SHORT = 500, 170
"""Characters of an answer, and of a memory in a table, that are shown."""


class Show:
    """Prints to one console, at most WIDTH columns wide."""

    def __init__(self, console: Console) -> None:
        self._console = console
        console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH

    def act(self, number: int, title: str, text: str) -> None:
        self._console.print()
        self._console.rule(Text(f" {number}  {title} ", style="bold cyan"), align="left", style="cyan")
        self.say(text)

    def say(self, text: str, *, style: str = "") -> None:
        self._console.print(Text(visible(text), style=style))

    def claim(self, claim: Claim) -> None:
        mark, style = ("✓", "green") if claim.holds else ("✗", "bold red" if claim.binding else "yellow")
        self._console.print(Text(visible(f" {mark} {claim.says}"), style=style))

    def answer(self, report: dict[str, Any]) -> None:
        """What a crew said, task by task."""
        self._console.print(Panel(_outputs(report["outputs"]), title=_title(report), title_align="left", border_style="blue"))

    def compared(self, report: dict[str, Any]) -> None:
        """The same crew's answer without and with memory, side by side."""
        half = (self._console.width - 1) // 2
        without = Panel(_outputs(report["without_memory"]), title="without memory", border_style="red", width=half)
        with_memory = Panel(_outputs(report["outputs"]), title="with memory", border_style="green", width=half)
        self.say(_title(report))
        self._console.print(Columns([without, with_memory], padding=(0, 1)))

    def published(self, records: Sequence[Explained], report: dict[str, Any]) -> None:
        """What went to the log, and when the log had it."""
        for record in records:
            had = "acknowledged before the process ended" if report["published"] else "in the outbox when the process ended"
            self.say(
                f"published: {record.type}, event {record.event_id}, on the log at {record.partition}/{record.offset}, {had}"
            )

    def decided(self, records: Sequence[Explained], report: dict[str, Any]) -> None:
        """What each rule decided, and why."""
        rows = [
            (span.span, _who(report, span.span), span.outcome, span.rule, span.why)
            for record in records
            for span in record.spans
        ]
        self._table("what the rules decided", ("piece", "of", "outcome", "rule", "why"), rows)

    def remembered(self, records: Sequence[Explained]) -> None:
        """Which memories were made, and how much of a piece was cut because memory had told it the crew."""
        rows = [
            (span.kind, _until(span.expires_at), _short(content) + _what_was_cut(span.characters, content))
            for record in records
            for span in record.spans
            if (content := record.contents.get(span.memory_id or ""))
        ]
        self._table("what was remembered", ("kind", "kept", "memory"), rows)

    def recalled(self, memories: Sequence[dict[str, Any]], title: str = "what it recalled before it began") -> None:
        """Memories with their scores, a cosine from 0 to 1."""
        rows = [
            (f"{memory['score']:.2f}", memory.get("kind"), memory.get("agent_role") or "", _short(memory["content"]))
            for memory in memories
        ]
        self._table(title, ("score", "kind", "from", "memory"), rows)

    def _table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        if not rows:
            self.say(f"{title}: nothing", style="italic")
            return
        table = Table(
            title=title, title_justify="left", title_style="italic", box=box.SIMPLE_HEAD, pad_edge=False, expand=False
        )
        for column in columns:
            table.add_column(column, no_wrap=column not in ("why", "memory"), overflow="fold")
        for row in rows:
            table.add_row(*(Text(visible_line(cell)) for cell in row))
        self._console.print(table)


def _title(report: dict[str, Any]) -> str:
    return f"{report['crew'].partition('-')[0]} crew, process {report['process']}, session {report['session']}"


def _who(report: dict[str, Any], span: str) -> str:
    """The agent whose task's output the span is a piece of."""
    number = span.removeprefix("task/").partition("/")[0]
    return str(report["outputs"][int(number)]["role"]) if number.isdecimal() else ""


def _outputs(outputs: Sequence[dict[str, str]]) -> RenderableType:
    return Group(
        *(Text.assemble((f"{display_name(one['role'])}: ", "bold"), visible(_cut(one["text"], LONG))) for one in outputs)
    )


def _short(text: str) -> str:
    return _cut(" ".join(text.split()), SHORT)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _until(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "for good"
    return f"{(expires_at - datetime.now(UTC)).days + 1} days"


def _what_was_cut(characters: int, content: str) -> str:
    cut = characters - len(content)
    return f" [{cut} of {characters} characters cut: the crew had them from memory]" if cut >= 10 else ""
