"""One crew of the demo in a process of its own: `python -m crewmem.cli.demo.crew CREW SESSION REPORT`.

Where the service is, and with which key, comes from the environment, as in any crew's process. What the crew did is
written to REPORT as JSON; that is for the demo to print, and no crew reads it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

RESEARCH_GOAL = "Analyse competitor pricing"
STRATEGY_GOAL = "Build a go-to-market plan with a price per seat"


def main(name: str, session: str, report: Path) -> None:
    """Runs the crew with memory; a strategy crew first also without, for comparison."""
    import crewmem
    from crewmem.offline_llm import choose_llm

    llm = choose_llm()
    without = _outputs(_crew(name, llm).kickoff()) if name == "strategy" else None
    crewmem.install(session=session)
    result = _crew(name, llm).kickoff()
    run = crewmem.last_run()
    if run is None:
        raise SystemExit("the kickoff ran without memory")
    written: dict[str, Any] = {
        "crew": name, "session": session, "process": os.getpid(), "model": llm.model, "without_memory": without,
        "outputs": _outputs(result), "memories": [dict(memory) for memory in run.memories], "tokens": run.tokens,
        "event_ids": list(run.event_ids), "published": run.published, "line": str(run),
    }  # fmt: skip
    report.write_text(json.dumps(written, default=str), "utf-8")


def _crew(name: str, llm: Any) -> Any:
    from crewmem.example_crews import LATER_SOURCES, PRICING_SOURCES, research_crew, strategy_crew

    if name == "strategy":
        return strategy_crew(STRATEGY_GOAL, llm=llm)
    return research_crew(RESEARCH_GOAL, llm=llm, sources=LATER_SOURCES if name == "research-later" else PRICING_SOURCES)


def _outputs(result: Any) -> list[dict[str, str]]:
    return [{"role": str(task.agent).strip(), "task": str(task.name), "text": str(task.raw)} for task in result.tasks_output]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
