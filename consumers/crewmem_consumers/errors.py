"""The errors of the consuming side.

CrewmemError
├── RuleError         a rule file that cannot be used (also a ValueError)
├── PatternRefused    a regular expression that is not valid, or not linear (also a ValueError)
├── ConsumerRunning   another process consumes this log
├── TooManyGenerations  no further generation may live beside those that do
├── LogShortened      a replay would lose memories whose records the log no longer has
├── LlmRefused        the endpoint for summaries will never take this text
└── Unavailable       (producers)
    ├── LlmUnavailable   the endpoint for summaries does not answer now
    └── WorkerUnavailable  the process that works on texts cannot be had now
"""

from __future__ import annotations

from crewmem_producers.errors import CrewmemError, Unavailable


class RuleError(CrewmemError, ValueError):
    """A rule file is refused; the message says where and why. Mend it and check it with `crewmem rules check FILE`."""

    def __init__(self, reason: str, *, file: str, line: int) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file = file
        self.line = line
        self.reason = reason


class PatternRefused(CrewmemError, ValueError):
    """A regular expression of a rule is not valid, or cannot be run in time that is linear in the text.

    The message says why and how to write it instead; `crewmem rules check FILE` checks a whole file.
    """


class ConsumerRunning(CrewmemError):
    """Another process consumes this log: `crewmem consume` or `crewmem up`. Stop it and run the command again."""


class TooManyGenerations(CrewmemError):
    """As many generations live as may. Let go of one first: `crewmem generations list`, `crewmem generations drop`."""


class LogShortened(CrewmemError):
    """A replay would lose memories whose records the log no longer has. Restore the log from a backup
    (`crewmem backup restore`), or run `crewmem replay --accept-loss` to go on without them."""


class LlmRefused(CrewmemError):
    """The endpoint for summaries will never take this text; the memory keeps its extract. Try another CREWMEM_LLM_MODEL."""


class WorkerUnavailable(Unavailable):
    """The process that works on texts cannot be started, or is killed by others again and again. Look for its memory (a limit
    of the container, `CREWMEM_RECORD_MEGABYTES`) and in the log; the consumer waits and tries again, and skips nothing."""


class LlmUnavailable(Unavailable):
    """The endpoint for summaries does not answer, or not with a summary. Check CREWMEM_LLM_BASE_URL, model and key."""
