"""CrewAI's own memory, recalled for every task and offered as tools, kept by crewmem; and crewmem's two tools by hand."""

from crewai import Agent, Crew, Task
from crewmem import CrewMemory, RecallTool, RememberTool
from crewmem.offline_llm import choose_llm

SESSION = "crewai memory"

print(RememberTool(session=SESSION).run(content="The launch is planned for the second week of March."))
print(RecallTool(session=SESSION).run(query="When is the launch?"))

planner = Agent(role="Planner", goal="Plan", backstory="You plan launches.", llm=choose_llm())
task = Task(description="Check when the launch is planned", agent=planner, expected_output="A date")
print(Crew(agents=[planner], tasks=[task], memory=CrewMemory(session=SESSION)).kickoff())
