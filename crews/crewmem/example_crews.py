"""Two small crews that the demo and the examples run: one finds facts out, another, elsewhere, plans with them.

They are ordinary CrewAI crews and know nothing of crewmem. Their sources are in the task's text, where other crews would
have tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crewai import Agent, Crew, Task

PRICING_SOURCES = (
    "Acme Corp charges 49 dollars per seat and month and publishes no API documentation.",
    "Globex charges 19 dollars per seat and month and limits exports to 1,000 rows.",
    "Initech charges 99 dollars per seat and month and sells only through resellers.",
)
"""What the research crew can read in its first run."""

LATER_SOURCES = (*PRICING_SOURCES, "Hooli announced a free tier for teams of up to five people.")
"""What it can read in a later one: one fact more."""


def research_crew(goal: str, *, llm: Any, sources: Sequence[str] = PRICING_SOURCES, verbose: bool = False) -> Crew:
    """A Senior Researcher who reports what the sources say, and a Content Writer who sums it up."""
    researcher = Agent(
        role="Senior Researcher", goal="Find facts that decisions can rest on", llm=llm, verbose=verbose,
        backstory="You read sources closely and report only what is not known yet.",
    )  # fmt: skip
    writer = Agent(
        role="Content Writer", goal="Sum findings up so that busy people read them", llm=llm, verbose=verbose,
        backstory="You write short and leave nothing important out.",
    )  # fmt: skip
    research = Task(
        description=f"{goal}. Report every fact of the sources that is not known yet.\nSources:\n{_bullets(sources)}",
        expected_output="A list of findings", agent=researcher, name="research",
    )  # fmt: skip
    write = Task(
        description="Write a summary of the findings.", expected_output="One paragraph", agent=writer, name="summary",
    )  # fmt: skip
    return Crew(name="research", agents=[researcher, writer], tasks=[research, write], verbose=verbose)


def strategy_crew(goal: str, *, llm: Any, verbose: bool = False) -> Crew:
    """A Strategist who plans; nobody hands the facts over, so a plan can only rest on recalled ones."""
    strategist = Agent(
        role="Go-to-market Strategist", goal="Make plans that rest on facts", llm=llm, verbose=verbose,
        backstory="You plan only with what you know, and say so when you know nothing.",
    )  # fmt: skip
    plan = Task(
        description=f"{goal} that answers what competitors charge per seat and month, and where they are weak.",
        expected_output="Numbered steps", agent=strategist, name="plan",
    )  # fmt: skip
    return Crew(name="strategy", agents=[strategist], tasks=[plan], verbose=verbose)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
