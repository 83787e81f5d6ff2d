"""No session named, or `shared`: a common knowledge base that all crews of a tenant read and write."""

import crewmem
from crewai import Agent, Crew, Task
from crewmem import Memstore
from crewmem.offline_llm import choose_llm


def crew_of(role: str, task: str) -> Crew:
    agent = Agent(role=role, goal="Do the task", backstory="You do what you are asked.", llm=choose_llm())
    return Crew(name=role, agents=[agent], tasks=[Task(description=task, agent=agent, expected_output="A result")])


# By hand: leave the session out.
memstore = Memstore()
memstore.remember("The staging cluster is rebuilt every Monday at 6 in the morning.")
print("by hand:", [memory["content"] for memory in memstore.recall("When is staging rebuilt?")])

# In one line: a kickoff never guesses, so the shared session is named.
crewmem.install(session="shared")
print(crew_of("Operator", "Note the facts\n- The on-call rota changes on the first of each month.").kickoff())
print("installed:", crew_of("Planner", "Plan a release around the on-call rota and the staging cluster").kickoff())
