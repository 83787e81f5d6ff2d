"""Two crews, two processes, by hand: the second plans with what the first found, and nothing is passed between them.

Without arguments it starts itself twice; `06_hand_off.py research` and `06_hand_off.py strategy` are the two processes.
"""

import subprocess
import sys

from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.example_crews import research_crew
from crewmem.offline_llm import choose_llm

SESSION = "project_q1_launch"
ms = Memstore()


def run_research_crew(session: str, goal: str) -> str:
    result = str(research_crew(goal, llm=choose_llm()).kickoff())
    ms.remember(f"Research on '{goal}': {result}", session=session)
    return result


def run_strategy_crew(session: str, goal: str) -> str:
    known = "\n".join(f"- {memory['content']}" for memory in ms.recall(f"{goal}: competitors, prices", session=session))
    strategist = Agent(role="Strategist", goal=goal, backstory=f"What is known:\n{known or 'nothing'}", llm=choose_llm())
    plan = Task(description=goal, agent=strategist, expected_output="Numbered steps")
    return str(Crew(agents=[strategist], tasks=[plan]).kickoff())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["research"]:
            print(run_research_crew(SESSION, "Analyse competitor pricing"))
        case ["strategy"]:
            print(run_strategy_crew(SESSION, "Build a go-to-market plan"))
        case _:
            for crew in ("research", "strategy"):
                print(f"--- the {crew} crew, in a process of its own", flush=True)
                subprocess.run([sys.executable, __file__, crew], check=True)
