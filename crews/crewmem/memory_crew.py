"""`MemoryCrew(crew, session=...)`: memory for one crew, said where the crew is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crewmem.installing import configure
from crewmem.sessions import Session

if TYPE_CHECKING:
    from crewai import Crew


class MemoryCrew:
    """A crew that remembers; the arguments are those of `crewmem.install`, and hold for this crew before what was installed.

    Every form of kickoff is there and gives what the crew's own gives; everything else is the crew's.
    Raises SettingsError, InvalidName, MissingExtra, UnsupportedCrewAI.
    """

    def __init__(
        self,
        crew: Crew,
        session: Session | None = None,
        *,
        agents: Sequence[Any] | None = None,
        publish: bool = True,
        recall: bool = True,
        strict: bool = False,
        **settings: Any,
    ) -> None:
        self.crew = crew
        self._configuration = configure(
            session, agents=agents, publish=publish, recall=recall, strict=strict, settings=settings
        )  # fmt: skip
        self._bound(crew)

    def kickoff(self, inputs: dict[str, Any] | None = None, **options: Any) -> Any:
        """`Crew.kickoff`: a CrewOutput, or a CrewStreamingOutput for a crew with `stream=True`."""
        return self.crew.kickoff(inputs=inputs, **options)

    async def kickoff_async(self, inputs: dict[str, Any] | None = None, **options: Any) -> Any:
        """`Crew.kickoff_async`: the same in a worker thread."""
        return await self.crew.kickoff_async(inputs=inputs, **options)

    async def akickoff(self, inputs: dict[str, Any] | None = None, **options: Any) -> Any:
        """`Crew.akickoff`: the same in the running loop."""
        return await self.crew.akickoff(inputs=inputs, **options)

    def kickoff_for_each(self, inputs: list[dict[str, Any]], **options: Any) -> list[Any]:
        """`Crew.kickoff_for_each`: one kickoff for each inputs, each of a copy of the crew."""
        from crewai.types.usage_metrics import UsageMetrics

        copies = [self._bound(self.crew.copy()) for _ in inputs]
        outputs = [copy.kickoff(inputs=values, **options) for copy, values in zip(copies, inputs, strict=True)]
        usage = UsageMetrics()
        for copy in copies:
            if copy.usage_metrics:
                usage.add_usage_metrics(copy.usage_metrics)
        self.crew.usage_metrics = usage
        return outputs

    async def kickoff_for_each_async(self, inputs: list[dict[str, Any]], **options: Any) -> Any:
        """`Crew.kickoff_for_each_async`: all at once, in worker threads."""
        return await self._for_each(inputs, "kickoff_async", options)

    async def akickoff_for_each(self, inputs: list[dict[str, Any]], **options: Any) -> Any:
        """`Crew.akickoff_for_each`: all at once, in the running loop."""
        return await self._for_each(inputs, "akickoff", options)

    async def _for_each(self, inputs: list[dict[str, Any]], form: str, options: dict[str, Any]) -> Any:
        from crewai.crews.utils import run_for_each_async

        async def kickoff(copy: Crew, values: dict[str, Any]) -> Any:
            return await getattr(self._bound(copy), form)(inputs=values, **options)

        return await run_for_each_async(self.crew, inputs, kickoff)

    def train(self, n_iterations: int, filename: str, inputs: dict[str, Any] | None = None) -> None:
        """`Crew.train`: its runs get no recalled memory, and are not published."""
        from crewmem.hooks import trying_out

        with trying_out(self._configuration):
            self.crew.train(n_iterations, filename, inputs)

    def test(self, n_iterations: int, eval_llm: Any, inputs: dict[str, Any] | None = None) -> None:
        """`Crew.test`: its runs get no recalled memory, and are not published."""
        from crewmem.hooks import trying_out

        with trying_out(self._configuration):
            self.crew.test(n_iterations, eval_llm, inputs)

    def _bound(self, crew: Crew) -> Crew:
        from crewmem.hooks import install_for

        install_for(crew, self._configuration)
        return crew

    def __getattr__(self, name: str) -> Any:
        if name == "crew":  # not there yet: a copy or an unpickled one
            raise AttributeError(name)
        return getattr(self.crew, name)
