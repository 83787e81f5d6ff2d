"""The hand-off of 06 with one line: neither crew knows of memory, nor of the other."""

import subprocess
import sys

import crewmem
from crewmem.example_crews import research_crew, strategy_crew
from crewmem.offline_llm import choose_llm

if __name__ == "__main__":
    crewmem.install(session="project_q1_launch_installed")
    match sys.argv[1:]:
        case ["research"]:
            print(research_crew("Analyse competitor pricing", llm=choose_llm()).kickoff())
        case ["strategy"]:
            print(strategy_crew("Build a go-to-market plan", llm=choose_llm()).kickoff())
            print(crewmem.last_run())
        case _:
            for crew in ("research", "strategy"):
                print(f"--- the {crew} crew, in a process of its own", flush=True)
                subprocess.run([sys.executable, __file__, crew], check=True)
