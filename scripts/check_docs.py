"""Checks that what README and docs tell people to type exists: make targets, crewmem commands and their options, compose
services, settings, linked files; that their Python compiles; that tables made from the program are as it would make them, and
that every metric is in the page about them. Exits 1 and names each line that does not hold."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docs_tables
import typer
import yaml
from crewmem.cli.app import app
from crewmem_consumers.metrics import Metrics as ConsumerMetrics
from crewmem_producers.setting_sources import CONFIG_VARIABLE
from crewmem_producers.settings import TEST_PREFIX, known_names
from crewmem_store.service.metrics import Metrics as ServiceMetrics
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "bench" / "README.md",
    ROOT / "crews" / "examples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
MONITORING = ROOT / "docs" / "monitoring.md"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
SERVICES = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]) | {"s3", "bucket"}
COMMANDS = typer.main.get_command(app)


def faults(page: Path) -> Iterator[str]:
    text = page.read_text("utf-8")
    for language, block in FENCE.findall(text):
        if language in ("sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from command_faults(line.strip().removeprefix("$ "))
        elif language == "python":
            yield from python_faults(block)
    for inline in re.findall(r"`((?:crewmem|make) [^`]+)`", text):
        yield from command_faults(inline)
    for name in set(re.findall(r"\bCREWMEM_[A-Z0-9_]*[A-Z0-9]\b", text)):
        if not is_setting(name):
            yield f"{name} is no setting"
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text):
        if not (page.parent / target).exists():
            yield f"the link {target} leads nowhere"


def command_faults(line: str) -> Iterator[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return  # a piece of shell that shlex does not read, a here-document for example
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    match words:
        case ["make", target, *_] if "=" not in target and target not in TARGETS:
            yield f"`{line}`: make knows no {target}"
        case ["docker", "compose", *rest]:
            yield from (f"`{line}`: no service {name}" for name in scaled(rest) if name not in SERVICES)
            if "crewmem" in rest:
                yield from crewmem_faults(line, rest[rest.index("crewmem") + 1 :])
        case ["crewmem", *rest]:
            yield from crewmem_faults(line, rest)


def scaled(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for before, word in itertools.pairwise(words) if before == "--scale"]


def crewmem_faults(line: str, words: list[str]) -> Iterator[str]:
    command: Any = COMMANDS
    for word in words:
        if word in ("|", "&&", ";", ">", "&"):
            return
        if (children := getattr(command, "commands", None)) and not word.startswith("-"):
            if "|" not in word and word not in children and not word.isupper():
                yield f"`{line}`: crewmem knows no {word}"
                return
            command = children.get(word, command)
        elif word.startswith("--") and len(word) > 2:
            options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if word.partition("=")[0] not in options | {"--help", "--version"}:
                yield f"`{line}`: {command.name} has no option {word}"


def python_faults(block: str) -> Iterator[str]:
    try:
        compile(block, "<docs>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        yield f"a python block does not compile: {error}"


def is_setting(name: str) -> bool:
    bare = name.removeprefix("CREWMEM_").lower()
    return (
        bare in known_names()
        or bare.removesuffix("_file") in known_names()
        or name == CONFIG_VARIABLE
        or name.startswith(TEST_PREFIX)
        or name in COMPOSE_NAMES
    )


def metric_faults() -> Iterator[str]:
    """Metrics that the page about them leaves out, and such as it invents."""
    texts = (ConsumerMetrics().text(), ServiceMetrics().text([], outbox_events=0))
    families = [family for text in texts for family in text_string_to_metric_families(text.decode())]
    ours = [one for one in families if one.name.startswith("crewmem_") and not one.name.endswith("_created")]
    there = {f"{one.name}_total" if one.type == "counter" else one.name for one in ours}
    page = MONITORING.read_text("utf-8")
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bcrewmem_[a-z_]+", page)}
    yield from (f"{name} is not in it" for name in sorted(there - named))
    yield from (f"{name} is no metric" for name in sorted(named - there))


COMPOSE_NAMES = set(re.findall(r"\$\{(\w+)", "".join(path.read_text("utf-8") for path in ROOT.glob("docker-compose*.yml"))))

if __name__ == "__main__":
    found = [f"{page.relative_to(ROOT)}: {fault}" for page in PAGES if page.exists() for fault in faults(page)]
    found += [f"{MONITORING.relative_to(ROOT)}: {fault}" for fault in metric_faults()]
    found += [f"{page.relative_to(ROOT)}: a table is not what the program says: run  make docs" for page in docs_tables.stale()]
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(1 if found else print(f"{len(PAGES)} pages hold") or 0)
