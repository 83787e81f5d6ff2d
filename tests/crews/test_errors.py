"""Every error comes back from another process as it was raised."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import Any

import crewmem
import crewmem_consumers
import crewmem_producers
import crewmem_store
import pytest
from crewmem.errors import KeyRefused, SessionMissing
from crewmem_producers.errors import CrewmemError, EventTooLarge, ServiceUnavailable
from support.crews import ScriptedLLM, two_agent_crew

for package in (crewmem, crewmem_consumers, crewmem_producers, crewmem_store):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.endswith(".errors"):
            import_module(module.name)

EXAMPLES: dict[str, Any] = {"str": "what is wrong", "int": 503, "float": 2.5, "Mapping[str, str]": {"retry-after": "1"}}


def subclasses(kind: type[CrewmemError]) -> Iterator[type[CrewmemError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.endswith(".errors"):
            yield from subclasses(below)


KINDS = sorted(set(subclasses(CrewmemError)), key=lambda kind: (kind.__module__, kind.__qualname__))


def made(kind: type[CrewmemError]) -> CrewmemError:
    """One with a value for everything that its constructor takes."""
    own = kind.__init__ is not Exception.__init__ and inspect.isfunction(kind.__init__)
    parameters = list(inspect.signature(kind).parameters.values()) if own else []
    values = {p.name: EXAMPLES[str(p.annotation).removesuffix(" | None")] for p in parameters}
    positional = [values[p.name] for p in parameters if p.kind is not p.KEYWORD_ONLY]
    named = {p.name: values[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
    return kind(*(positional or ([] if own else ["what is wrong"])), **named)


def same(error: BaseException, other: BaseException) -> bool:
    return (type(error), error.args, str(error), vars(error)) == (type(other), other.args, str(other), vars(other))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_every_error_survives_pickling_with_its_class_arguments_and_attributes(kind: type[CrewmemError]) -> None:
    error = made(kind)
    assert same(pickle.loads(pickle.dumps(error)), error)


def test_the_errors_of_all_packages_are_among_those_that_are_pickled() -> None:
    found = {kind.__module__ for kind in KINDS}
    assert {f"{name}.errors" for name in ("crewmem", "crewmem.cli", "crewmem_consumers", "crewmem_store")} <= found
    assert len(KINDS) > 50
    assert any(vars(made(kind)) for kind in KINDS)


@pytest.mark.parametrize(
    "error",
    [SessionMissing("name one"), KeyRefused("401"), ServiceUnavailable("503", retry_after_seconds=7.0), EventTooLarge("big")],
)
def test_what_stops_a_kickoff_is_pickled_as_the_plain_error(error: CrewmemError) -> None:
    from crewmem.hooks import aborting

    stopped = aborting(error)
    assert isinstance(stopped, type(error)) and type(stopped) is type(aborting(error))
    assert {name: getattr(stopped, name) for name in vars(error)} == vars(error)
    found = pickle.loads(pickle.dumps(stopped))
    assert type(found) is type(error) and found.args == error.args
    assert vars(found).items() >= vars(error).items()


def kicked_off() -> None:
    crewmem.install(api_key="k", base_url="http://127.0.0.1:9")
    two_agent_crew(ScriptedLLM()).kickoff({"topic": "prices"})


def test_the_caller_of_a_process_pool_catches_the_error_of_a_kickoff_by_its_class() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(SessionMissing) as caught,
    ):
        pool.submit(kicked_off).result(timeout=150)
    assert "CREWMEM_SESSION" in str(caught.value)
