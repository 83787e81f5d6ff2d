"""What `import crewmem` offers, and what it says where CrewAI is not installed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import crewmem
import pytest
from crewmem import Event, MemoryRemembered, Publisher, Scope
from crewmem.errors import SettingsError
from crewmem_producers.settings import CrewSettings, load
from support.fake_service import FakeService

HEAVY = ("torch", "lancedb", "fastapi", "faststream", "aiokafka", "crewai", "httpx", "pyarrow", "numpy", "pydantic")

WITHOUT_CREWAI = """
import sys
sys.modules["crewai"] = None
import crewmem
crewmem.Memstore, crewmem.Publisher, crewmem.Event
for use in (
    lambda: crewmem.CrewMemory,
    lambda: crewmem.RecallTool,
    lambda: crewmem.RememberTool,
    lambda: crewmem.install(session="s", api_key="k"),
    lambda: crewmem.MemoryCrew(None, session="s", api_key="k"),
):
    try:
        use()
    except crewmem.MissingExtra as error:
        print(isinstance(error, ImportError), error)
"""


def test_importing_crewmem_and_naming_everything_in_it_stays_light() -> None:
    code = f"import sys, json, crewmem; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == []
    code = (
        "import sys, json, crewmem; crewmem.install; crewmem.Memstore; crewmem.Publisher; crewmem.session; crewmem.last_run;"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == ["httpx", "pydantic"]


def test_every_public_name_is_there_and_checkers_of_types_know_it() -> None:
    assert [name for name in crewmem.__all__ if not hasattr(crewmem, name)] == []
    assert set(crewmem.__all__) <= set(dir(crewmem))
    assert crewmem.__version__ == version("crewmem")
    [block] = [node for node in ast.parse(Path(str(crewmem.__file__)).read_text("utf-8")).body if isinstance(node, ast.If)]
    declared = {(node.module, alias.asname) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared == {(module, name) for module, names in crewmem._PUBLIC.items() for name in names}
    with pytest.raises(AttributeError):
        crewmem.nothing_of_that_name  # noqa: B018


def test_without_crewai_whatever_needs_it_is_one_error_that_names_the_command() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_CREWAI], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ['True crewai is not installed: run  pip install "crewmem[crewai]"'] * 5


def test_events_of_ones_own_are_published_with_what_crewmem_offers(service: FakeService) -> None:
    publisher = Publisher(flush_seconds=30)
    receipt = publisher.publish(Event(body=MemoryRemembered(content="Acme has no API docs"), scope=Scope.of("default", "p")))
    assert publisher.flush(30) and receipt.token(0) == "1.0.1"
    publisher.close()
    assert [(event["id"], event["data"]["session"]) for event in service.events] == [(receipt.ids[0], "p")]
    with pytest.raises(SettingsError, match="colour is no setting"):
        Publisher(colour="red")
    with pytest.raises(SettingsError, match="home cannot be named"):
        Publisher(load(CrewSettings), home="/elsewhere")
