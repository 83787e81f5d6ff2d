"""Memory by agent role: a specialist keeps what it knows, in whatever crew it works."""

import crewmem
from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.offline_llm import choose_llm

LAWYER, TESTER = "Contract Lawyer", "Software Tester"


def agent_of(role: str) -> Agent:
    return Agent(role=role, goal="Apply what you know", backstory="You are a specialist.", llm=choose_llm())


# By hand: the role is the session.
memstore = Memstore()
memstore.remember("Suppliers in Norway need a data processing agreement.", session=LAWYER)
print("by hand:", [memory["content"] for memory in memstore.recall("suppliers in Norway", session=LAWYER)])

# In one line: each agent gets the memories of its own role, and its outputs go there.
crewmem.install(session=crewmem.AGENT_ROLE)

lawyer, tester = agent_of(LAWYER), agent_of(TESTER)
crew = Crew(
    agents=[lawyer, tester],
    tasks=[
        Task(description="Check what is known of suppliers in Norway", agent=lawyer, expected_output="Facts"),
        Task(
            description="Check what is known of suppliers in Norway from tests",
            agent=tester,
            expected_output="Facts",
            context=[],
        ),
    ],
)
for output in crew.kickoff().tasks_output:
    print(f"{output.agent}: {output.raw}")
