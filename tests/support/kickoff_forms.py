"""Every form in which CrewAI kicks off a crew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from crewai import Crew
from crewai.flow.flow import Flow, start


def stream_sync(crew: Crew, inputs: dict[str, Any]) -> None:
    stream = crew.kickoff(inputs)
    list(stream)


async def stream_async(crew: Crew, inputs: dict[str, Any]) -> None:
    stream = await crew.akickoff(inputs)
    async for _ in stream:
        pass


def flow(crew: Crew, inputs: dict[str, Any]) -> None:
    class OneStep(Flow[dict[str, Any]]):
        @start()
        def run(self) -> str:
            return str(crew.kickoff(inputs))

    OneStep().kickoff()


FORMS: dict[str, tuple[bool, Callable[[Crew, dict[str, Any]], Any]]] = {
    "kickoff": (False, lambda crew, inputs: crew.kickoff(inputs)),
    "kickoff_async": (False, lambda crew, inputs: asyncio.run(crew.kickoff_async(inputs))),
    "akickoff": (False, lambda crew, inputs: asyncio.run(crew.akickoff(inputs))),
    "kickoff_for_each": (False, lambda crew, inputs: crew.kickoff_for_each([inputs])),
    "kickoff_for_each_async": (False, lambda crew, inputs: asyncio.run(crew.kickoff_for_each_async([inputs]))),
    "akickoff_for_each": (False, lambda crew, inputs: asyncio.run(crew.akickoff_for_each([inputs]))),
    "streaming": (True, stream_sync),
    "async streaming": (True, lambda crew, inputs: asyncio.run(stream_async(crew, inputs))),
    "in a flow": (False, flow),
}
