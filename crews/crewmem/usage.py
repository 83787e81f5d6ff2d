"""Tokens that one kickoff used. CrewAI's own figure counts an LLM once an agent, and never starts anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def usage_so_far(crew: Any) -> dict[int, dict[str, int]]:
    """What each LLM of the crew has counted until now, by the LLM's identity."""
    return {id(llm): _counts(llm) for llm in _llms(crew)}


def usage_since(crew: Any, before: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """The sum over the crew's LLMs of what was counted since `before`; LLMs that other crews use too count theirs in."""
    total: dict[str, int] = {}
    for llm in _llms(crew):
        earlier = before.get(id(llm), {})
        for name, count in _counts(llm).items():
            total[name] = total.get(name, 0) + count - earlier.get(name, 0)
    return total


def _llms(crew: Any) -> list[Any]:
    agents = [*crew.agents, *(task.agent for task in crew.tasks if task.agent), crew.manager_agent]
    llms = [getattr(agent, "llm", None) for agent in agents] + [crew.manager_llm]
    counting = [llm for llm in llms if hasattr(llm, "get_token_usage_summary")]
    return list({id(llm): llm for llm in counting}.values())


def _counts(llm: Any) -> dict[str, int]:
    return {name: count for name, count in llm.get_token_usage_summary().model_dump().items() if isinstance(count, int)}
