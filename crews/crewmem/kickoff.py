"""One kickoff of one crew: recalled once a session, put into its agents' prompts, published when it ends."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crewmem_producers.error_text import error_text
from crewmem_producers.errors import CrewmemError, TransportRefused, Unavailable
from crewmem_producers.events import Event, KickoffBody, new_event_id, utc_now
from crewmem_producers.freshness import LATEST
from crewmem_producers.limits import WAIT_SECONDS
from crewmem_producers.names import Scope
from crewmem_producers.settings import CrewSettings

from crewmem.agent_roles import AgentRoles, caller, session_of_role
from crewmem.announcing import announce
from crewmem.connection import Connection
from crewmem.errors import SessionMissing
from crewmem.kickoff_events import Ended, bodies_by_role, body_of
from crewmem.kickoff_sending import send
from crewmem.overlap import left_to_recall, sessions_shown
from crewmem.recall_block import Block, make_block
from crewmem.recalling import recall_request, warn_if_behind
from crewmem.runs import Run, report
from crewmem.session_context import Place, SessionBlock, count_kickoff, current, current_block, uncount_kickoff
from crewmem.sessions import INPUT_NAME, Session, Sessions, resolve
from crewmem.tracing import traceparent
from crewmem.usage import usage_since, usage_so_far

logger = logging.getLogger("crewmem")

MAX_QUERY_CHARACTERS = 4_000
WAIT_SHARE = 0.6
"""The part of the time for a recall in which the service may wait for its view to come up to the log; the rest is for the
connection and for the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `install` and `MemoryCrew` were told. `agents` are roles, None for all."""

    settings: CrewSettings
    session: Session | None = None
    agents: frozenset[str] | None = None
    publish: bool = True
    recall: bool = True
    strict: bool = False


@dataclass(slots=True)
class _Recalled:
    block: Block | None
    milliseconds: float
    problem: CrewmemError | None = None


@dataclass(eq=False)
class Kickoff:
    """Used by the threads that run a crew's tasks. Raises CrewmemError only where the crew shall stop.

    `block`, `outer` and `process` say where it began, as `session_context` asks for.
    """

    crew: Any
    options: Options
    connection: Connection
    inputs: Mapping[str, Any]
    clock: Callable[[], datetime] = utc_now
    execution_id: str = field(default_factory=new_event_id)
    sessions: Sessions | None = None
    block: SessionBlock | None = field(default_factory=current_block)
    outer: Place | None = field(default_factory=current)
    process: int = field(default_factory=os.getpid)
    _early: Sessions | None = None
    _recalled: dict[str, _Recalled] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    roles: AgentRoles = field(init=False)
    _before: list[Any] = field(default_factory=list)
    _usage: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles = AgentRoles(self.crew)
        # A crew that is kicked off again still holds the outputs of its last run.
        self._before = [task.output for task in self.crew.tasks]
        self._usage = usage_so_far(self.crew)

    def begin(self, inputs: Mapping[str, Any]) -> None:
        """Decide the session, from then on fixed. Raise SessionMissing, InvalidName."""
        self.inputs = inputs
        sessions = self._resolved()
        if self._early not in (None, sessions):
            raise SessionMissing(
                "a before_kickoff callback used memory before the kickoff's session was known, and so used another one: name "
                "the session before that, or pass session=... to that call."
            )
        self.sessions = sessions
        count_kickoff(self)

    def declared(self) -> Sessions:
        """Return the sessions, also for a before_kickoff callback, before they are fixed. Raise what `begin` raises."""
        if self.sessions is None:
            self._early = self._resolved()
            return self._early
        return self.sessions

    def of_call(self) -> Sessions:
        """Return the sessions of a call inside: with AGENT_ROLE those of the calling agent. Raise what `begin` raises."""
        sessions = self.declared()
        if not sessions.by_role:
            return sessions
        role = caller(self.execution_id)
        if role is None:
            raise SessionMissing("session=AGENT_ROLE, and no agent makes this call: pass the role's name as session.")
        return sessions.of_role(role)

    def _resolved(self) -> Sessions:
        default = self.options.settings.session
        return resolve(self.options.session, crew=self.crew, inputs=self.inputs, default=default, own=self)

    def block_for(self, agent: Any) -> str | None:
        """Return what this agent's prompt gets; the first agent of a session recalls for all. Raise TransportRefused if
        strict."""
        if self.sessions is None or not self.options.recall:
            return None
        if self.options.agents is not None and self.options.agents.isdisjoint(names_of(agent)):
            return None
        role = self.roles.of_agent(agent)
        read = left_to_recall(self.sessions.of_role(role).read, getattr(self.crew, "_memory", None))
        if not read or set(read) <= sessions_shown(getattr(agent, "memory", None)):
            return None
        key = role if self.sessions.by_role else ""
        with self._lock:
            if key not in self._recalled:
                self._recalled[key] = _Recalled(block=None, milliseconds=0.0)  # whatever happens now, it happens once
                self._recalled[key] = self._recall(read, role if self.sessions.by_role else None)
            block = self._recalled[key].block
        return block.text if block is not None else None

    def end(self, *, output: Any = None, error: BaseException | None = None) -> None:
        """Publish, wait for the log, report. Raise what publishing raises with CREWMEM_DURABILITY=log, or if strict."""
        uncount_kickoff(self)
        if self.sessions is None and not self._begun_late(error):
            return
        started = time.perf_counter()
        events = self._events(self._ended(output, error)) if self._publishes(error) else []
        options = self.options
        sent = send(events, publisher=self.connection.publisher, settings=options.settings, strict=options.strict)
        read = self.sessions.read if self.sessions is not None else ()
        written = [event.scope.session for event in events if event.scope]
        blocks = {name: found.block for name, found in self._recalled.items() if found.block is not None}
        run = Run(
            execution_id=self.execution_id,
            crew=self.crew.name,
            sessions=read or tuple(dict.fromkeys([*map(session_of_role, self._recalled), *written])),
            memories=tuple(memory for block in blocks.values() for memory in block.memories),
            blocks={name: block.text for name, block in blocks.items()},
            tokens=sum(block.tokens for block in blocks.values()),
            best_score=max((b.best_score for b in blocks.values() if b.best_score is not None), default=None),
            recall_milliseconds=sum(found.milliseconds for found in self._recalled.values()),
            publish_milliseconds=(time.perf_counter() - started) * 1000,
            event_ids=sent.ids,
            published=sent.acknowledged,
            waiting=sent.waiting,
            failed=None if error is None else f"{type(error).__name__}: {error_text(error, max_characters=200)}",
        )
        report(run)
        problem = next((found.problem for found in self._recalled.values() if found.problem is not None), None)
        announce(run, options.settings, problem=problem)
        if sent.problem is not None:
            raise sent.problem

    def _begun_late(self, error: BaseException | None) -> bool:
        """Whether a kickoff that failed before its inputs were ready (in a before_kickoff callback) has a session."""
        if error is None or isinstance(error, CrewmemError):
            return False
        try:
            self.begin(self.inputs)
        except CrewmemError as missing:
            logger.warning("the failed kickoff is not published: %s", missing)
        uncount_kickoff(self)
        return self.sessions is not None

    def _recall(self, sessions: tuple[str, ...], role: str | None) -> _Recalled:
        settings, started = self.options.settings, time.perf_counter()
        seconds = settings.recall_timeout_seconds
        found: list[dict[str, Any]] = []
        problem: CrewmemError | None = None
        try:
            request = recall_request(
                self._query(role), sessions, top_k=settings.top_k, threshold=settings.threshold, after=LATEST,
                wait_seconds=min(WAIT_SECONDS, WAIT_SHARE * seconds),
            )  # fmt: skip
            answer = self.connection.client.call("POST", "/v1/memory/recall", json=request, timeout_seconds=seconds)
            found = answer.get("memories", [])
            warn_if_behind(answer, "from this kickoff")
        except Unavailable as error:
            problem = error
            logger.warning("the crew starts without memory: %s", error)
        except CrewmemError as error:
            problem = error
            logger.error("the crew starts without memory: %s", error)
            if self.options.strict and isinstance(error, TransportRefused):
                raise
        block = make_block(found, now=self.clock(), top_k=settings.top_k, max_tokens=settings.max_tokens)
        return _Recalled(block=block, milliseconds=(time.perf_counter() - started) * 1000, problem=problem)

    def _query(self, role: str | None) -> str:
        """The task descriptions (a role's own, when it has any) and the inputs that are text."""
        tasks = [task for task in self.crew.tasks if role and task.agent and self.roles.of_agent(task.agent) == role]
        parts = [str(task.description).strip() for task in tasks or self.crew.tasks]
        parts += [text for name, text in self.inputs.items() if isinstance(text, str) and name != INPUT_NAME]
        query = "\n".join(dict.fromkeys(part for part in parts if part))[:MAX_QUERY_CHARACTERS] or "everything"
        return query.replace("\0", " ").encode("utf-8", "replace").decode()  # what no request can hold

    def _publishes(self, error: BaseException | None) -> bool:
        # That crewmem itself stopped the crew is nothing that the next run should know.
        return self.options.publish and not isinstance(error, CrewmemError)

    def _ended(self, output: Any, error: BaseException | None) -> Ended:
        tasks = list(self.crew.tasks)
        done = [task.output is not None and task.output is not old for task, old in zip(tasks, self._before, strict=False)]
        if output is not None:
            outputs = [(_index(tasks, item, at), item) for at, item in enumerate(output.tasks_output)]
        else:
            outputs = [(index, task.output) for index, task in enumerate(tasks) if index < len(done) and done[index]]
        allowed = self.options.settings.publish_inputs
        return Ended(
            crew=self.crew,
            execution_id=self.execution_id,
            inputs={name: self.inputs[name] for name in allowed if name in self.inputs},
            outputs=outputs,
            output=output,
            error=error,
            failed_index=done.index(False) if error is not None and False in done else None,
            token_usage=usage_since(self.crew, self._usage),
        )

    def _events(self, ended: Ended) -> list[Event]:
        assert self.sessions is not None
        memories = {name: found.block.memories for name, found in self._recalled.items() if found.block is not None}
        if not self.sessions.by_role:
            return [self._event(self.sessions.write, body_of(ended, memories.get("", ())))]
        bodies = bodies_by_role(ended, memories, role_of=self.roles.of_output)
        return [self._event(self.sessions.of_role(role).write, body) for role, body in bodies.items()]

    def _event(self, session: str, body: KickoffBody) -> Event:
        settings = self.options.settings
        scope = Scope.of(settings.tenant, session)
        return Event(body=body, scope=scope, source=settings.source, traceparent=traceparent())


def names_of(agent: Any) -> set[str]:
    """The roles by which an agent is known: as written, and with the inputs put in."""
    return {str(role).strip() for role in (agent.role, getattr(agent, "_original_role", None)) if role}


def _index(tasks: list[Any], output: Any, position: int) -> int:
    """The index of the task that made the output; conditional tasks that were skipped have none of their own."""
    return next((i for i, task in enumerate(tasks) if task.output is output), min(position, len(tasks) - 1))
