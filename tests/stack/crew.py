"""A crew as its user runs it, in a process of its own:  crew.py SESSION research|plan

Prints one JSON object: the answer, how many memories were recalled, and whether the log has acknowledged the output.
"""

import json
import sys

import crewmem
from crewmem.example_crews import research_crew, strategy_crew
from crewmem.offline_llm import OfflineLLM

session, what = sys.argv[1:]
crewmem.install(session=session)
crew = (
    research_crew("Analyse competitor pricing", llm=OfflineLLM())
    if what == "research"
    else strategy_crew("Build a go-to-market plan", llm=OfflineLLM())
)
answer = str(crew.kickoff())
run = crewmem.last_run()
assert run is not None
print(json.dumps({"answer": answer, "memories": len(run.memories), "published": run.published, "waiting": run.waiting}))
