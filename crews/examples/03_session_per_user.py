"""One session a user: what the crew learns with one user it never tells another."""

import crewmem
from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.offline_llm import choose_llm

ANN, BEN = "user ann", "user ben"


def support_crew(question: str) -> Crew:
    agent = Agent(role="Support Agent", goal="Help", backstory="You help customers.", llm=choose_llm())
    task = Task(description=question, agent=agent, expected_output="An answer")
    return Crew(name="support", agents=[agent], tasks=[task])


# By hand: the session is an argument of every call.
memstore = Memstore()
memstore.remember("The customer runs version 7 on Windows and has tried a restart.", session=ANN)
for user in (ANN, BEN):
    found = memstore.recall("Which version does the customer run?", session=user)
    print(f"{user}, by hand: {[memory['content'] for memory in found] or 'nothing known'}")

# In one line: a function of the crew and its inputs names the session of every kickoff.
crewmem.install(session=lambda crew, inputs: inputs["user"])

for user in (ANN, BEN):
    answer = support_crew("Look up which version the customer runs").kickoff(inputs={"user": user})
    print(f"{user}, installed: {answer}")
