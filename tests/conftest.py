"""What every test shares: markers whose part is not there are skipped with the reason, and settings of the caller's
environment never reach a test."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from support.kafka import Broker, any_kafka, delete_topics, docker_missing, kafka_missing, process_missing

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

# No test asserts a time, and machines that run tests are busy.
hypothesis.settings.register_profile(
    "crewmem",
    deadline=None,
    derandomize="CI" in os.environ,  # a landing is not left to luck; elsewhere every run tries other values
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("crewmem")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too (as `-m slow` does)")


LONGEST = ("stack/", "chaos/test_chaos", "hostile/", "crews/test_cli_demo", "processes/", "crews/test_cli_", "model/")
"""Begin with these: a worker that begins with one of them last keeps the others waiting."""


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((rank for rank, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=_rank)  # stable: within a rank they stay in order
    reasons: dict[str, str | None] = {}
    for item in items:
        for name, missing in MISSING.items():
            if item.get_closest_marker(name) is None:
                continue
            if name not in reasons:
                reasons[name] = missing(config)
            if reason := reasons[name]:
                item.add_marker(pytest.mark.skip(reason=f"{name}: {reason}"))


def _s3_missing(_: pytest.Config) -> str | None:
    path = os.environ.get("CREWMEM_TEST_S3")
    if not path:
        return "CREWMEM_TEST_S3 names no versitygw binary"
    return None if os.access(path, os.X_OK) else f"CREWMEM_TEST_S3={path} cannot be executed"


def _llm_missing(_: pytest.Config) -> str | None:
    return None if os.environ.get("OPENAI_BASE_URL") else "OPENAI_BASE_URL names no model server"


def _browser_missing(_: pytest.Config) -> str | None:
    found = any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return None if found and shutil.which("chromedriver") else "no chromium with a chromedriver is installed"


def _slow_missing(config: pytest.Config) -> str | None:
    asked = config.getoption("--slow") or "slow" in config.getoption("-m").replace("not slow", "")
    return None if asked else "takes minutes; run with --slow or -m slow"


MISSING: dict[str, Callable[[pytest.Config], str | None]] = {
    "slow": _slow_missing,
    "kafka": lambda _: kafka_missing(),
    "docker": lambda _: docker_missing(),
    "s3": _s3_missing,
    "llm": _llm_missing,
    "browser": _browser_missing,
}
"""marker -> why its part is not there, or None."""


@pytest.fixture(autouse=True)
def levels_of_loggers() -> Iterator[None]:
    """A command that a test calls in its own process says from which level on our loggers speak: for that test only."""
    loggers = [logging.getLogger(name) for name in ("crewmem", "crewmem_consumers", "crewmem_store", "crewmem_producers")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Removes CREWMEM_* (but CREWMEM_TEST_*) and, but for `llm` tests, OPENAI_*; CREWMEM_HOME is a folder of the test."""
    prefixes = ("CREWMEM_",) if request.node.get_closest_marker("llm") else ("CREWMEM_", "OPENAI_")
    for name in list(os.environ):
        if name.startswith(prefixes) and not name.startswith("CREWMEM_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CREWMEM_HOME", str(tmp_path / "crewmem-home"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of Apache Kafka, one for all tests; mark the test `kafka`, and keep to `namespace`."""
    if missing := kafka_missing():
        pytest.skip(f"kafka: {missing}")
    with any_kafka(tmp_path_factory.mktemp("kafka") / "broker") as address:
        yield address


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that no other test has; its topics are removed after a `kafka` test."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    if "kafka" in request.fixturenames:
        asyncio.run(delete_topics(request.getfixturevalue("kafka"), name))


@pytest.fixture(scope="session")
def own_brokers() -> None:
    """Skips a test that needs brokers of its own where none can be started."""
    if missing := process_missing():
        pytest.skip(f"kafka: a broker of its own is needed, and {missing}")


@pytest.fixture
def new_broker(tmp_path: Path, own_brokers: None) -> Iterator[Callable[..., Broker]]:
    """`new_broker(**options)` makes a broker of the test's own, not started, which it may kill; needs KAFKA_HOME."""
    brokers: list[Broker] = []

    def make(**options: object) -> Broker:
        brokers.append(Broker(tmp_path / f"broker-{len(brokers)}", **options))  # type: ignore[arg-type]
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()
