"""`crewmem config`: every setting with its value and where that comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from crewmem_producers import local_service
from crewmem_producers.compat import StrEnum
from crewmem_producers.setting_sources import PREFIX, config_path, origin
from crewmem_producers.settings import API_KEY_NAME, ROLES, CrewSettings, load

from crewmem.cli.console import print_json, print_table, say
from crewmem.cli.options import AsJson

app = typer.Typer(help="Settings: their values, where they come from, what they mean.", no_args_is_help=True)
_MASK = "**********"


@app.command()
def show(as_json: AsJson = False) -> None:
    """Print every setting with its value and origin; secrets are masked."""
    settings = _values()
    if as_json:
        print_json(settings)
        return
    path = config_path()
    say(f"crewmem.toml: {path or 'none found'}\n")
    print_table(
        ("setting", "value", "from"), [(PREFIX + name.upper(), _shown(s["value"]), s["from"]) for name, s in settings.items()]
    )


class Page(StrEnum):
    """The pages of docs/ that are made from the program."""

    SETTINGS = "settings"
    CLI = "cli"
    SIZE = "size"


@app.command()
def docs(context: typer.Context, page: Annotated[Page, typer.Argument(help="Which page.")] = Page.SETTINGS) -> None:
    """Print docs/settings.md, docs/cli.md or docs/size.md, made from the program itself."""
    from crewmem.cli import command_docs, settings_docs
    from crewmem.cli.sizing import page as size_docs

    match page:
        case Page.SETTINGS:
            text = settings_docs.render()
        case Page.CLI:
            text = command_docs.render(context.find_root().command)
        case Page.SIZE:
            text = size_docs.render()
    say(text.rstrip())


def _values() -> dict[str, dict[str, Any]]:
    models = list(ROLES.values())
    loaded = {model: load(model) for model in models}
    shown: dict[str, dict[str, Any]] = {}
    for model in models:
        for name, value in loaded[model].model_dump(mode="json").items():
            shown.setdefault(name, {"value": value, "from": origin(name)})
    crew = loaded[CrewSettings]
    if isinstance(crew, CrewSettings) and crew.service_url() != crew.base_url:
        shown["base_url"] = {"value": crew.service_url(), "from": str(crew.home / local_service.NAME)}
    if isinstance(crew, CrewSettings) and crew.api_key is None and crew.resolved_api_key():
        shown["api_key"] = {"value": _MASK, "from": str(crew.home / API_KEY_NAME)}
    return shown


def _shown(value: object) -> str:
    return "(not set)" if value is None else str(value)
