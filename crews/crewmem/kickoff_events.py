"""A kickoff as events: what its tasks put out, for the log. Prompts and descriptions are never published.

Inputs and JSON outputs are taken as they are: the publisher mends what JSON cannot hold, and cuts what is too large. Names are
cut here to what an event takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crewmem_producers.error_text import error_text
from crewmem_producers.events import KickoffBody, KickoffCompleted, KickoffError, KickoffFailed, Recalled, TaskOutput
from crewmem_producers.limits import LABEL_CHARACTERS, RECALLED, RECALLED_CHARACTERS

MAX_ERROR_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a kickoff ended. `outputs` are CrewAI's task outputs, each with its task's index in the crew.

    `output` is the CrewOutput, None for a failed one; then `error` is what was raised and `failed_index` the task
    that raised it, where that is known.
    """

    crew: Any
    execution_id: str
    inputs: Mapping[str, Any]
    outputs: Sequence[tuple[int, Any]]
    output: Any = None
    error: BaseException | None = None
    failed_index: int | None = None
    token_usage: Mapping[str, Any] | None = None


def body_of(ended: Ended, recalled: Iterable[Mapping[str, Any]]) -> KickoffBody:
    """The whole kickoff as one body; `recalled` are the memories that were put into its prompts."""
    return _body(ended, _tasks(ended), recalled, final=True, failed=ended.error is not None)


def bodies_by_role(
    ended: Ended, recalled: Mapping[str, Iterable[Mapping[str, Any]]], *, role_of: Callable[[int], str]
) -> dict[str, KickoffBody]:
    """Return a body for each role that has outputs; what the crew put out as a whole goes to the last task's role, a failure
    to the failing task's. `recalled` by role; `role_of` gives the role of a task's index."""
    tasks = [(role_of(task.index), task) for task in _tasks(ended)]
    roles = list(dict.fromkeys(role for role, _ in tasks))
    last = tasks[-1][0] if tasks else None
    if ended.failed_index is not None:
        last = role_of(ended.failed_index)
    return {
        role: _body(
            ended,
            [task for its, task in tasks if its == role],
            recalled.get(role, ()),
            final=role == last,
            failed=ended.error is not None and role == last,
        )
        for role in roles
    }


def _body(
    ended: Ended, tasks: list[TaskOutput], recalled: Iterable[Mapping[str, Any]], *, final: bool, failed: bool
) -> KickoffBody:
    output = ended.output if final else None
    common: dict[str, Any] = {
        "execution_id": ended.execution_id,
        "crew": _label(ended.crew.name),
        "crew_key": _label(ended.crew.key) or "",
        "inputs": dict(ended.inputs),
        "raw": output.raw if output is not None else "",
        "json": _json(output),
        "tasks": tasks,
        "token_usage": dict(ended.token_usage) if ended.token_usage and (final or failed) else None,
        "recalled": [found for memory in recalled if (found := _recalled(memory)) is not None][:RECALLED],
    }
    if failed and ended.error is not None:
        message = error_text(ended.error, max_characters=MAX_ERROR_CHARACTERS)
        error = KickoffError(type=type(ended.error).__name__[:LABEL_CHARACTERS], message=message, task_index=ended.failed_index)
        return KickoffFailed(**common, error=error)
    return KickoffCompleted(**common)


def _tasks(ended: Ended) -> list[TaskOutput]:
    """The outputs, and the task that failed, without one: so that what is learnt of the failure has its role and key."""
    found = [_task(ended.crew.tasks[index], index, output) for index, output in ended.outputs]
    if ended.failed_index is not None:
        found.append(_task(ended.crew.tasks[ended.failed_index], ended.failed_index, None))
    return sorted(found, key=lambda task: task.index)


def _task(task: Any, index: int, output: Any) -> TaskOutput:
    role = getattr(task.agent, "role", "") if output is None else output.agent
    # TaskOutput.name falls back to the description, which is never published: take the task's own.
    values = {"key": _label(task.key) or "", "name": _label(task.name), "agent_role": _label(str(role).strip()) or None}
    return TaskOutput(index=index, **values, raw="" if output is None else output.raw or "", json=_json(output))


def _recalled(memory: Mapping[str, Any]) -> Recalled | None:
    if not memory.get("event_id") or not memory.get("span"):
        return None
    return Recalled(
        event_id=memory["event_id"],
        span=memory["span"],
        session=memory.get("session") or "",
        text=(memory.get("shown") or "")[:RECALLED_CHARACTERS],
    )


def _label(name: str | None) -> str | None:
    return None if name is None else str(name)[:LABEL_CHARACTERS]


def _json(output: Any) -> Any:
    if output is None:
        return None
    if output.json_dict is not None:
        return output.json_dict
    return None if output.pydantic is None else output.pydantic.model_dump(mode="json", fallback=str)
