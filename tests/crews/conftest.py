"""A stand-in for the service, a home that has memories, and nothing installed before or after a test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import crewmem
import pytest
from crewmem import announcing, runs
from support.fake_service import KEY, FakeService, running


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """Answers on a free port, and is what CREWMEM_BASE_URL and CREWMEM_API_KEY lead to."""
    with running() as fake:
        monkeypatch.setenv("CREWMEM_BASE_URL", fake.base_url)
        monkeypatch.setenv("CREWMEM_API_KEY", KEY)
        yield fake


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose log holds 6 records, the last of which still waits."""
    from support.made_home import made_home  # a store: most tests of this folder load none

    return made_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may damage; what CREWMEM_HOME names."""
    copy = Path(shutil.copytree(made, tmp_path / "copy"))
    monkeypatch.setenv("CREWMEM_HOME", str(copy))
    return copy


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    """After the test crewmem is out of this process's crews again, nothing of it is open, and no kickoff has run."""
    yield
    crewmem.uninstall()
    runs._last.run = None
    announcing._once.done = False


@pytest.fixture
def installed(service: FakeService) -> FakeService:
    """crewmem is installed for session `s`; gives the service."""
    crewmem.install(session="s")
    return service
