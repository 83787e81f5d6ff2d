"""docs/cli.md, made from the commands themselves: `crewmem config docs cli > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crewmem.cli.exits import STOPPED, Exit

_HEAD = """\
# The command line

<!-- made by `crewmem config docs cli > docs/cli.md`; do not edit -->

Results go to stdout, everything else to stderr; `--json`, where a command has it, gives a script what it needs. Settings are
read as in every other part ([settings.md](settings.md)); an unknown `CREWMEM_` name stops every command. `crewmem --version`
prints the version, and `--help` behind any command what it takes. In a checkout whose environment make has made the program
is `.venv/bin/crewmem`.

Words that the commands use: the **log** keeps every event for ever, in partitions; a **position** is a place on it, such as
`3/1207` (partition and offset). A **generation** (`g1`, `g2`, ...) is a complete computation of the memory from the log; one of
them is active and answers recalls ([replay.md](replay.md)). The **ledger** beside it has one outcome for each position
([accounting.md](accounting.md)). A **dead letter** is an event that can never be processed
([dead-letters.md](dead-letters.md)). The **registry** holds API keys, data keys, erasures and the list of generations. The
**outbox** is a file on a crew's own disk where events wait until the log has them ([outbox.md](outbox.md)).

| exit code | meaning |
|---|---|
"""

_MEANINGS: dict[int, str] = {
    Exit.DONE: "done",
    Exit.CHECK_FAILED: (
        "a check failed (`doctor`, `demo`, `accounting`, `digest --expect`, `backup verify`), or something is left to do "
        "(`forget --erase`, `keys lost`)"
    ),
    Exit.USAGE: "usage or a setting: a wrong option, value, name or file",
    Exit.UNREACHABLE: "service, broker or store do not answer",
    Exit.REFUSED: "refused; the message names the remedy",
    STOPPED: "`replay` was stopped with ctrl-C; run again, it goes on where it was",
}


def render(program: Any) -> str:
    """The whole page: exit codes, then every command of the program (a click group) with its arguments and options."""
    codes = "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in _MEANINGS.items())
    return _HEAD + codes + "\n" + "".join(_sections("crewmem", program))


def _sections(path: str, command: Any) -> Iterator[str]:
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _sections(f"{path} {name}", child)
        else:
            yield _section(f"{path} {name}", child)


def _section(path: str, command: Any) -> str:
    parameters = [parameter for parameter in command.params if parameter.name != "help"]
    arguments = "".join(f" {_argument(one)}" for one in parameters if one.param_type_name == "argument")
    rows = [f"| {_name(one)} | {_text(one)} |" for one in parameters]
    table = "\n\n| | |\n|---|---|\n" + "\n".join(rows) if rows else ""
    return f"\n## `{path}{arguments}`\n\n{(command.help or '').strip()}{table}\n"


def _argument(parameter: Any) -> str:
    name = str(parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{str(parameter.name).upper()}`"
    return ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])


def _text(parameter: Any) -> str:
    text = (parameter.help or "").replace("|", "\\|")
    default = parameter.default
    shown = parameter.param_type_name == "option" and not (default is None or isinstance(default, bool) or callable(default))
    if not shown or "efault:" in text:
        return text
    said = " ".join(str(item) for item in default) if isinstance(default, list | tuple) else str(default)
    return f"{text} Default: `{said}`."
