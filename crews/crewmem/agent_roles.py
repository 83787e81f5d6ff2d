"""`session=crewmem.AGENT_ROLE`: which session is an agent's own, whose work an output is, and which agent calls.

The session of a role is the role as it is written, before a kickoff's inputs are put in: `{topic} Senior Data Researcher` is
one session, whatever the topic. In a hierarchical crew an output belongs to the coworker that the manager delegated the task
to; where that is none or several, to the agent that the task names; else to the manager. CrewAI's own manager, whose role is
the same in every crew, has a session for each crew.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary, finalize

from crewmem_producers.errors import InvalidName
from crewmem_producers.names import normalise_session

logger = logging.getLogger("crewmem")

LONGEST_ROLE = 200
"""Characters of a role that is a session's name as it stands; a session's name has no more."""
KEPT_CHARACTERS = 160
"""Characters that are kept of a longer role, before its hash."""
DELEGATE = "delegate_work_to_coworker"
ASK = "ask_question_to_coworker"
UNNAMED_CREW = "crew"
"""What CrewAI calls a crew without a name."""

_caller: ContextVar[tuple[str, str] | None] = ContextVar("crewmem_calling_role", default=None)
_own_agents: WeakValueDictionary[Any, Any] = WeakValueDictionary()
"""Task id -> the agent that the task named, before a hierarchical kickoff put the manager in its place."""


def session_of_role(role: str) -> str:
    """Return the session of a role: the role itself, or where it is no session's name, its start and its hash."""
    try:
        return normalise_session(role) if len(role) <= LONGEST_ROLE else _shortened(role)
    except InvalidName:
        return _shortened(role)


@lru_cache(maxsize=1024)  # also so that a role is reported once, not at each model call
def _shortened(role: str) -> str:
    words = "".join(char if char.isprintable() else " " for char in role[:KEPT_CHARACTERS])
    digest = hashlib.sha256(" ".join(role.split()).encode("utf-8", "replace")).hexdigest()[:16]
    name = f"{' '.join(words.split()) or 'role'} {digest}"
    try:
        name = normalise_session(name)
    except InvalidName:
        name = f"role {digest}"
    logger.warning("the role %r cannot be a session's name as it is (%d characters): its session is %r", words, len(role), name)
    return name


def agent_calls(execution_id: str, role: str) -> None:
    """Note, for this context, that an agent of this role calls what comes next in the kickoff."""
    _caller.set((execution_id, role))


def caller(execution_id: str) -> str | None:
    """Return the role of the agent that calls, None where none does: in a before_kickoff callback."""
    found = _caller.get()
    return found[1] if found is not None and found[0] == execution_id else None


class AgentRoles:
    """The roles of one kickoff's agents, by which their sessions are named."""

    def __init__(self, crew: Any) -> None:
        self._crew = crew
        self._own = [_own_agent(task, crew) for task in crew.tasks]
        self._delegated: dict[int, set[str]] = {}

    def of_agent(self, agent: Any) -> str:
        """Return the agent's role as it is written; of CrewAI's own manager, with the crew's name."""
        role = " ".join(str(getattr(agent, "_original_role", None) or getattr(agent, "role", "")).split())
        crew = self._crew
        if agent is None or agent is not crew.manager_agent or crew.manager_llm is None:
            return role
        named = crew.name and crew.name != UNNAMED_CREW
        return f"{role} of {crew.name if named else f'crew {crew.key[:12]}'}"

    def of_output(self, index: int) -> str:
        """Return the role whose work the output of the crew's task at `index` is."""
        agent = self._crew.tasks[index].agent
        if agent is None or agent is not self._crew.manager_agent:
            return self.of_agent(agent)
        coworkers = self._delegated.get(index, set())
        if len(coworkers) == 1:
            return next(iter(coworkers))
        return self.of_agent(self._own[index] or agent)

    def of_step(self, context: Any) -> str:
        """Return the role that a task's step runs as: its agent's, and once it has its output that of the output."""
        index = self._index(context.task)
        return self.of_agent(context.agent) if context.output is None or index is None else self.of_output(index)

    def of_tool_call(self, context: Any) -> str:
        """Return the role that calls what a tool runs, and note a delegation: what runs inside, the coworker calls."""
        coworker = None if context.tool_result is not None else self._coworker(context.tool_name, context.tool_input)
        if coworker is None:
            return self.of_agent(context.agent)
        role, index = self.of_agent(coworker), self._index(context.task)
        if index is not None and _plain_name(context.tool_name) == DELEGATE:
            self._delegated.setdefault(index, set()).add(role)
        return role

    def _index(self, task: Any) -> int | None:
        return next((index for index, known in enumerate(self._crew.tasks) if known is task), None)

    def _coworker(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        if _plain_name(tool) not in (DELEGATE, ASK):
            return None
        wanted = str(arguments.get("coworker") or arguments.get("co_worker") or "")
        if wanted.startswith("[") and wanted.endswith("]"):  # as CrewAI reads it
            wanted = wanted[1:-1].split(",")[0]
        agents = [*self._crew.agents, *(agent for agent in self._own if agent is not None)]
        return next((agent for agent in agents if _spelt(agent.role) == _spelt(wanted)), None)


def _own_agent(task: Any, crew: Any) -> Any:
    """Return the agent that the task names. CrewAI replaces it by the manager when a hierarchical crew runs."""
    if crew.manager_llm is None and crew.manager_agent is None:
        return task.agent
    if task.agent is None or task.agent is not crew.manager_agent:
        if task.agent is not None:
            if task.id not in _own_agents:
                finalize(task, _own_agents.pop, task.id, None)
            _own_agents[task.id] = task.agent
        return task.agent
    return _own_agents.get(task.id)


def _plain_name(tool: str) -> str:
    return "_".join(tool.casefold().replace("_", " ").split())


def _spelt(role: str) -> str:
    return " ".join(role.split()).replace('"', "").casefold()
