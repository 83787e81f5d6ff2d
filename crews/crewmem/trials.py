"""`Crew.train` and `Crew.test`, also as `crewai train` and `crewai test`: their runs try a crew out.

What is tried out must not stand in the memory of the project. Nor does memory help a trial, which compares its runs.
"""

from __future__ import annotations

from typing import Any

from crewmem.notices import notice_once

NOTICE = (
    "crewmem: the runs of Crew.train and Crew.test (crewai train, crewai test) get no recalled memory, and none of their "
    "outputs is published or saved"
)
_TRIAL = "crewmem-trial"


def is_trial(crew: Any) -> bool:
    """Return whether this is the copy of a crew that `train` or `test` kicks off."""
    if getattr(crew, "_train", False):
        return True
    from crewai.utilities.evaluators.crew_evaluator_handler import CrewEvaluator

    return any(isinstance(getattr(task.callback, "__self__", None), CrewEvaluator) for task in crew.tasks)


def enter_trial() -> None:
    """Put the rest of CrewAI's kickoff, which has just begun in this context, into a trial; CrewAI ends it with the kickoff."""
    from opentelemetry import context

    notice_once(NOTICE)
    context.attach(context.set_value(_TRIAL, True))


def in_trial() -> bool:
    """Return whether this code runs inside a trial."""
    from opentelemetry import context

    return context.get_value(_TRIAL) is True
