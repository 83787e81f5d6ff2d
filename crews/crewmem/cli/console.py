"""How the command line prints: results on stdout, progress and complaints on stderr.

What others wrote may hold escape sequences: every function here prints it with `crewmem_producers.display.visible`. Nothing
reads rich's markup, so that `[red]` in a memory is text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from crewmem_producers.display import json_visible, visible, visible_line
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 160
"""Columns of a table that no terminal shows."""


def out() -> Console:
    return _console(stderr=False)


def err() -> Console:
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPED_WIDTH)
    return console


def say(text: str, *, style: str = "") -> None:
    """Text on stdout, never wrapped; its lines stay lines. A name in it goes through `visible_line` first."""
    out().print(Text(visible(text), style=style), soft_wrap=True)


def note(text: str, *, style: str = "") -> None:
    """The same on stderr: what a script does not want."""
    err().print(Text(visible(text), style=style), soft_wrap=True)


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """`1 record`, `2 records`; `nouns` is a plural that takes more than an s."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"


def print_json(value: Any) -> None:
    """`value` as indented JSON on stdout; what JSON has no word for (a time, a path) as text. What a terminal would obey is a
    `\\u` escape, which reads back as it was."""
    out().print(Text(json_visible(json.dumps(value, indent=2, ensure_ascii=False, default=str))), soft_wrap=True)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None, lines: Collection[str] = ()
) -> None:
    """A table of plain text cells; None is an empty cell. A cell is one line, but in the columns that `lines` names."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")  # a path or an id that is cut off is of no use
    shown = [visible if column in lines else visible_line for column in columns]
    for row in rows:
        table.add_row(*(Text(show(cell)) for show, cell in zip(shown, row, strict=True)))
    out().print(table)


@contextmanager
def working(text: str) -> Iterator[None]:
    """A spinner on stderr while something takes long; a plain line where there is no terminal."""
    console = err()
    if not console.is_terminal:
        note(f"{text} ...")
        yield
        return
    with console.status(Text(visible(text))):
        yield
