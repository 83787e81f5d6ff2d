"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RuleFile = Annotated[Path, typer.Argument(help="A rule file, such as crewmem.rules.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Home = Annotated[
    Path | None, typer.Option("--home", help="Folder of log, store, key and outbox (CREWMEM_HOME).", show_default=False)
]
Session = Annotated[
    str | None,
    typer.Option("--session", "-s", help="Session; without it CREWMEM_SESSION, else `shared`.", show_default=False),
]
