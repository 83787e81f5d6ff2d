"""`Agent.kickoff`: one agent that runs without a crew. It recalls and is published like a crew of this one agent with one task.

CrewAI has no hook for the whole of it: a guardrail runs after its hooks, and inside a flow none is called. So `kickoff` and
`kickoff_async` of the class `Agent` are wrapped while crewmem is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from crewai import Agent
from crewmem_producers.errors import CrewmemError

from crewmem.connection import Connection
from crewmem.kickoff import Kickoff, Options
from crewmem.session_context import inside_kickoff, running_kickoff

Installed = Callable[[], tuple[Options, Connection] | None]


@dataclass(eq=False)
class _Request:
    """What the agent is asked, as a task."""

    agent: Any
    description: str
    name: None = None
    output: Any = None

    @property
    def key(self) -> str:
        """A hash, as the key of CrewAI's tasks is: the text itself is never published."""
        return hashlib.sha256(f"{self.agent.key}|{self.description}".encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(eq=False)
class AgentAlone:
    """The agent as a crew: what a `Kickoff` asks of one."""

    agent: Any
    tasks: list[_Request]
    id: str = field(default_factory=lambda: str(uuid4()))
    name: None = None
    manager_agent: None = None
    manager_llm: None = None

    @property
    def agents(self) -> list[Any]:
        return [self.agent]

    @property
    def key(self) -> str:
        return str(self.agent.key)


@dataclass(eq=False)
class _Output:
    """What the agent put out, as the output of a crew and of its task."""

    raw: str
    pydantic: Any
    agent: str
    json_dict: None = None

    @property
    def tasks_output(self) -> list[_Output]:
        return [self]


class AgentKickoffs:
    """The wrapped methods. `installed` gives what is installed for the whole process."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed
        self._own: dict[str, Any] = {}

    def wrap(self) -> None:
        """Wrap what is not wrapped."""
        if not self._own:
            self._own = {name: vars(Agent)[name] for name in ("kickoff", "kickoff_async")}
            Agent.kickoff = self._wrapped(self._own["kickoff"])  # type: ignore[method-assign]
            Agent.kickoff_async = self._wrapped_async(self._own["kickoff_async"])  # type: ignore[method-assign]

    def unwrap(self) -> None:
        """Give CrewAI its methods back."""
        for name, method in self._own.items():
            setattr(Agent, name, method)
        self._own = {}

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def kickoff(agent: Any, messages: Any, *args: Any, **options: Any) -> Any:
            # Inside a loop CrewAI gives back a coroutine, of kickoff_async, which is wrapped too.
            run = None if _in_loop() else self._kickoff(agent, messages, args, options)
            with _entered(run, args, options):
                try:
                    output = method(agent, messages, *args, **options)
                except Exception as error:
                    _failed(run, error)
                    raise
                _done(run, output)
                return output

        return kickoff

    def _wrapped_async(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def kickoff_async(agent: Any, messages: Any, *args: Any, **options: Any) -> Any:
            run = self._kickoff(agent, messages, args, options)
            with _entered(run, args, options):
                try:
                    output = await method(agent, messages, *args, **options)
                except Exception as error:
                    await asyncio.to_thread(_failed, run, error)
                    raise
                await asyncio.to_thread(_done, run, output)
                return output

        return kickoff_async

    def _kickoff(self, agent: Any, messages: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Kickoff | None:
        """The kickoff, begun; None where it is not crewmem's. Raises what `Kickoff.begin` raises."""
        if _is_judge(args, options) or _is_restored(args, options) or (found := self._configuration()) is None:
            return None
        settings, connection = found
        crew = AgentAlone(agent, [])
        crew.tasks.append(_Request(agent, _text(messages)))
        run = Kickoff(crew=crew, options=settings, connection=connection, inputs={})
        run.begin({})
        return run

    def _configuration(self) -> tuple[Options, Connection] | None:
        """Inside a kickoff what holds for that one, with its session; else what is installed."""
        outer = running_kickoff()
        if outer is not None:
            return replace(outer.options, session=None), outer.connection
        return self._installed()


def _entered(run: Kickoff | None, args: tuple[Any, ...], options: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    if run is not None:
        return inside_kickoff(run)
    return _judging() if _is_judge(args, options) else contextlib.nullcontext()


def _done(run: Kickoff | None, output: Any) -> None:
    if run is not None:
        run.end(output=_Output(raw=str(output.raw), pydantic=output.pydantic, agent=str(run.crew.agent.role)))


def _failed(run: Kickoff | None, error: Exception) -> None:
    """As with a crew that fails, what could not be published is logged: the caller gets its own error."""
    if run is not None:
        with contextlib.suppress(CrewmemError):
            run.end(error=error)


def _is_judge(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether CrewAI asks a model whether an output keeps to a guardrail that is given as text."""
    from crewai.tasks.llm_guardrail import LLMGuardrailResult

    return (args[0] if args else options.get("response_format")) is LLMGuardrailResult


def _is_restored(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether CrewAI hands over to another agent, which it restores from a checkpoint: that one is covered."""
    checkpoint = args[2] if len(args) > 2 else options.get("from_checkpoint")
    return getattr(checkpoint, "restore_from", None) is not None


def _text(messages: Any) -> str:
    """The request: the text, or the last message of the user, as CrewAI chooses it."""
    if isinstance(messages, str):
        return messages
    texts = [(str(message.get("role")), _content(message.get("content"))) for message in messages if isinstance(message, dict)]
    of_user = [text for role, text in texts if role == "user" and text]
    return (of_user or [text for _, text in texts] or [""])[-1]


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


_JUDGE = "crewmem-judge"


@contextlib.contextmanager
def _judging() -> Iterator[None]:
    from opentelemetry import context

    token = context.attach(context.set_value(_JUDGE, True))
    try:
        yield
    finally:
        context.detach(token)


def judges() -> bool:
    """Return whether the judge of a guardrail runs: what earlier runs found out is no part of what it judges."""
    from opentelemetry import context

    return context.get_value(_JUDGE) is True


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
