"""Three lines: import crewmem, install it for a session, kick off your own crew."""

import crewmem
from crewmem.example_crews import research_crew
from crewmem.offline_llm import choose_llm

crewmem.install(session="quick start")

crew = research_crew("Analyse competitor pricing", llm=choose_llm())  # your own crew, as it is
print(crew.kickoff())
print(crewmem.last_run())
