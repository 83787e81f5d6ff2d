"""A crew that has a `CrewMemory` and is covered by `install` or `MemoryCrew` too: each thing is shown once and kept once.

Of a session that both use, `CrewMemory` shows what is remembered, for each task, and the kickoff is what is published: it holds
the output of each task, the failure too, and what was recalled. Where they use different sessions, both do their part.
"""

from __future__ import annotations

import sys
from typing import Any

from crewmem.notices import notice_once
from crewmem.session_context import running_kickoff

NOTICE = (
    "crewmem: this crew has a CrewMemory and is installed for the same session: CrewMemory shows what is remembered, and the "
    "kickoff is published in place of what CrewMemory would save after each task"
)


def sessions_shown(memory: Any) -> frozenset[str]:
    """Return the sessions that CrewAI recalls from through this `memory` of a crew or an agent; none if it is not crewmem's."""
    module = sys.modules.get("crewmem.crew_memory")
    if module is None:
        return frozenset()
    memory = getattr(memory, "_memory", None) or memory  # a view: memory.scope(...), memory.slice(...)
    return frozenset(memory.sessions) if isinstance(memory, module.CrewMemory) else frozenset()


def left_to_recall(sessions: tuple[str, ...], memory: Any) -> tuple[str, ...]:
    """Return those of the sessions that `memory` does not show."""
    shown = sessions_shown(memory)
    left = tuple(name for name in sessions if name not in shown)
    if left != sessions:
        notice_once(NOTICE)
    return left


def is_published(session: str) -> bool:
    """Return whether the running kickoff publishes its outputs to this session, so that they need not be saved there."""
    kickoff = running_kickoff()
    if kickoff is None or not kickoff.options.publish or kickoff.sessions is None or kickoff.sessions.write != session:
        return False
    notice_once(NOTICE)
    return True
