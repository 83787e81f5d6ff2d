"""The client by hand: what is known goes into the backstory before the kickoff, what came out is remembered after it."""

import os
import sys

from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.offline_llm import choose_llm

ms = Memstore(api_key=os.environ.get("CREWMEM_API_KEY"))  # None: the key that `crewmem up` made on this machine


def run_research_crew(project_id: str, goal: str) -> str:
    known = ms.recall(goal, session=project_id)
    print(f"recalled: {[(memory['content'], memory['score']) for memory in known]}")
    notes = "\n".join(f"- {memory['content']}" for memory in known) or "Nothing is known yet: this is the first run."
    llm = choose_llm()
    researcher = Agent(
        role="Senior Researcher", goal=goal, llm=llm, allow_delegation=False, verbose=False,
        backstory=f"You read everything there is, once. From earlier runs:\n{notes}",
    )  # fmt: skip
    writer = Agent(role="Content Writer", goal="Say it clearly", backstory=f"You know:\n{notes}", llm=llm, verbose=False)
    find_out = Task(description=f"Find out: {goal}", agent=researcher, expected_output="Findings in detail")
    sum_up = Task(description="Write it up", agent=writer, expected_output="A short summary")
    result = Crew(agents=[researcher, writer], tasks=[find_out, sum_up]).kickoff()
    ms.remember(f"Done for '{goal[:80]}': {str(result)[:300]}", session=project_id)
    return str(result)


if __name__ == "__main__":
    print(run_research_crew(*(sys.argv[1:3] or ("project alpha", "Analyse competitor pricing"))))
    print("the crew has run to its last line")
