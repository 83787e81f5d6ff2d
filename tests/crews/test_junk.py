"""Memory does not fill up with itself: a crew that says again what it was told leaves nothing new."""

from __future__ import annotations

from pathlib import Path

import crewmem
from crewmem import Memstore
from support.crews import ScriptedLLM, two_agent_crew
from support.live import live_service


def restate(prompt: str) -> str:
    """Everything that the prompt says before its task, and the one thing that this agent finds out."""
    backstory = prompt.split("Current Task:")[0]
    found = "The summary is ready for the board." if "Write it down" in prompt else "Acme charges 49 dollars per seat."
    return f"As I was told: {backstory}\n\n{found}"


def test_fifty_runs_of_a_crew_that_restates_its_backstory_leave_no_more_than_three(tmp_path: Path) -> None:
    with live_service(tmp_path / "service") as live:
        settings = {"base_url": live.base_url, "api_key": live.api_key}
        crewmem.install(session="s", threshold=0, **settings)
        ms = Memstore(**settings)
        totals = []
        for _ in range(50):
            two_agent_crew(ScriptedLLM(restate)).kickoff({"topic": "seat prices"})
            ms.recall("wait until it is in the view", session="s")
            totals.append(ms.list(session="s")["total"])
        assert totals[-1] == totals[2] and totals[-1] <= 6, totals
        run = crewmem.last_run()
        assert run is not None and run.memories and run.tokens <= 600
