"""The command line: one module a command group. What is heavy is imported by the command that needs it."""

from __future__ import annotations


def main() -> None:
    """The `crewmem` program; its exit codes are those of `crewmem.cli.exits`."""
    from crewmem.cli.app import app

    app(prog_name="crewmem")
