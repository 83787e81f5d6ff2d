"""The one place that touches CrewAI's hooks: they find the kickoff that runs, and hand over to it.

EXECUTION_START, INPUT and EXECUTION_END run on the kickoff's own path in every form of kickoff, each exactly once;
PRE_MODEL_CALL runs before each LLM call, with the messages of that call: what is put there reaches this call's agent
and nobody else, whatever crews share the agent, and no template is applied to it any more. The hooks of steps and tool
calls say which agent calls what runs now.
"""

from __future__ import annotations

import functools
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from crewai.hooks import HookAborted, InterceptionPoint, get_hooks, register_hook, unregister_hook
from crewai.utilities.crew.crew_context import get_crew_context
from crewmem_producers.errors import CrewmemError, restored

from crewmem import forked_crewai
from crewmem.agent_kickoff import AgentAlone, AgentKickoffs, judges
from crewmem.agent_roles import agent_calls
from crewmem.connection import Connection
from crewmem.kickoff import Kickoff, Options
from crewmem.notices import notice_once
from crewmem.session_context import enter_kickoff, running_kickoff
from crewmem.trials import enter_trial, is_trial

logger = logging.getLogger("crewmem")

Configuration = tuple[Options, Connection]


_of_trial: ContextVar[Configuration | None] = ContextVar("crewmem_trial", default=None)


class _Configurations:
    """Which configuration holds for a crew: its own, else the process's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.installed: Configuration | None = None
        self.of_crew: dict[str, Configuration] = {}

    def find(self, crew: Any) -> Configuration | None:
        with self.lock:
            return self.of_crew.get(str(crew.id)) or _of_trial.get() or self.installed


_configurations = _Configurations()
_agent_kickoffs = AgentKickoffs(lambda: _configurations.installed)


def install_for_all(configuration: Configuration) -> None:
    """Every crew of this process from now on."""
    with _configurations.lock:
        _configurations.installed = configuration
    _register()


def install_for(crew: Any, configuration: Configuration) -> None:
    """This crew object, until it is collected."""
    with _configurations.lock:
        _configurations.of_crew[str(crew.id)] = configuration
    weakref.finalize(crew, _configurations.of_crew.pop, str(crew.id), None)
    _register()


@contextmanager
def trying_out(configuration: Configuration) -> Iterator[None]:
    """The configuration holds for the copies of a crew that are made and kicked off inside."""
    token = _of_trial.set(configuration)
    try:
        yield
    finally:
        _of_trial.reset(token)


def watch_trials() -> None:
    """See the kickoffs of crews whose only crewmem is a CrewMemory: of a trial nothing is saved."""
    _register()


def _register() -> None:
    """Registers what is not registered: twice would publish twice, and someone may have cleared CrewAI's hooks."""
    forked_crewai.watched()
    with _configurations.lock:
        for point, hook in _HOOKS.items():
            if hook not in get_hooks(point):
                register_hook(point, hook)
        _agent_kickoffs.wrap()


def unregister() -> None:
    """Takes crewmem out of this process's crews."""
    with _configurations.lock:
        _configurations.installed = None
        _configurations.of_crew.clear()
        for point, hook in _HOOKS.items():
            unregister_hook(point, hook)
        _agent_kickoffs.unwrap()


def _on_start(context: Any) -> None:
    crew = context.crew
    if crew is None:  # a flow: its crews start themselves
        return
    trial = is_trial(crew)
    if trial:
        enter_trial()
    if (found := _configurations.find(crew)) is not None:
        options, connection = found
        if trial:
            options = replace(options, recall=False, publish=False)
        inputs = {} if context.inputs is None else context.inputs  # the callbacks' own dict: what they name is seen at once
        enter_kickoff(Kickoff(crew=crew, options=options, connection=connection, inputs=inputs))


def _on_input(context: Any) -> None:
    kickoff = running_kickoff()
    if kickoff is None or kickoff.crew is not context.crew:
        _on_start(context)  # a before_kickoff callback has installed crewmem: the start was dispatched before
        kickoff = running_kickoff()
    if kickoff is None or kickoff.crew is not context.crew:
        return
    kickoff.begin(dict(context.inputs or {}))
    for agent in {id(agent): agent for agent in (*context.crew.agents, *(t.agent for t in context.crew.tasks))}.values():
        # An executor copies the hooks when it is made; one that is older than install() has not got ours.
        hooks = getattr(getattr(agent, "agent_executor", None), "before_llm_call_hooks", None)
        if hooks is not None and _before_model_call not in hooks:
            hooks.append(_before_model_call)


def _on_model_call(context: Any) -> None:
    kickoff = running_kickoff()
    if kickoff is None and type(context.agent).__name__ == "LiteAgent" and _configurations.installed is not None:
        notice_once("crewmem: LiteAgent, which CrewAI gave up, gets no recalled memory and is not published: use Agent.kickoff")
    if kickoff is None or context.agent is None or judges() or not _is_of(kickoff.crew, context.agent):
        return
    block = kickoff.block_for(context.agent)
    if block is not None:
        put_block(context.messages, block)


def _is_of(crew: Any, agent: Any) -> bool:
    """Whether the agent runs in the crew; one that is kicked off alone is all of its crew."""
    if isinstance(crew, AgentAlone):
        return crew.agent is agent
    running = get_crew_context()
    return running is not None and running.id == str(crew.id)


def _on_end(context: Any) -> None:
    kickoff = running_kickoff()
    if kickoff is None or kickoff.crew is not context.crew:
        return
    kickoff.end(output=context.output, error=context.error)


def _on_step(context: Any) -> None:
    """A task begins, or has its output: what the task's guardrails and callbacks call, its agent calls."""
    kickoff = running_kickoff()
    if kickoff is None and context.kind == "task" and _configurations.installed is not None:
        notice_once(
            "crewmem: a task that runs without Crew.kickoff (Task.execute_sync, execute_async, Crew.replay) gets no recalled "
            "memory and is not published: kick off a crew that has the task"
        )
    elif kickoff is not None and context.kind == "task":
        agent_calls(kickoff.execution_id, kickoff.roles.of_step(context))


def _on_tool_call(context: Any) -> None:
    """A tool is called, or has answered. What runs inside a delegation, the coworker calls."""
    kickoff = running_kickoff()
    if kickoff is not None and context.agent is not None:
        agent_calls(kickoff.execution_id, kickoff.roles.of_tool_call(context))


def put_block(messages: list[Any], block: str) -> None:
    """Adds the block to the first message (the system prompt, where there is one), once. Changes the list, no message."""
    if not messages:
        return
    first = messages[0]
    content = first.get("content") or ""
    if isinstance(content, list):  # text and images
        if not any(block in str(part.get("text", "")) for part in content):
            messages[0] = {**first, "content": [*content, {"type": "text", "text": block}]}
    elif block not in content:
        messages[0] = {**first, "content": f"{content}\n\n{block}"}


def _safe(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    """What crewmem means to raise stops the crew; anything else is logged: a crew never stops over a bug of ours."""

    def guarded(context: Any) -> None:
        try:
            hook(context)
        except CrewmemError as error:
            raise aborting(error) from error
        except Exception:
            logger.exception("crewmem failed in %s; the crew goes on without it", hook.__name__)

    return guarded


def aborting(error: CrewmemError) -> Exception:
    """The same error, also as the HookAborted that CrewAI lets through: its caller catches it by its own class."""
    kind = _aborting_kind(type(error))  # type: ignore[arg-type]  # mypy does not see that a class is hashable
    copy: Any = kind.__new__(kind, *error.args)
    copy.args, copy.source = error.args, "crewmem"
    copy.__dict__.update({"reason": str(error)} | error.__dict__)
    return copy  # type: ignore[no-any-return]


@functools.cache
def _aborting_kind(kind: type[CrewmemError]) -> type[CrewmemError]:
    """A subclass of both. No other process knows it, so it is pickled as the error that it stands for."""

    def reduce(self: CrewmemError) -> tuple[Any, ...]:
        return restored, (kind, self.args, {name: value for name, value in self.__dict__.items() if name != "source"})

    return type(kind.__name__, (kind, HookAborted), {"__module__": kind.__module__, "__reduce__": reduce})


_before_model_call = _safe(_on_model_call)
_HOOKS: dict[InterceptionPoint, Callable[[Any], None]] = {
    InterceptionPoint.EXECUTION_START: _safe(_on_start),
    InterceptionPoint.INPUT: _safe(_on_input),
    InterceptionPoint.PRE_MODEL_CALL: _before_model_call,
    InterceptionPoint.PRE_STEP: _safe(_on_step),
    InterceptionPoint.POST_STEP: _safe(_on_step),
    InterceptionPoint.PRE_TOOL_CALL: _safe(_on_tool_call),
    InterceptionPoint.POST_TOOL_CALL: _safe(_on_tool_call),
    InterceptionPoint.EXECUTION_END: _safe(_on_end),
}
