"""A project in CrewAI's own layout, `@CrewBase`: nothing in it changes, and the session comes with the inputs."""

import crewmem
from crewai import Agent, Crew, Task
from crewai.project import CrewBase, agent, crew, task
from crewmem.offline_llm import choose_llm


@CrewBase
class PricingCrew:
    agents_config = None
    tasks_config = None

    @agent
    def analyst(self) -> Agent:
        return Agent(role="Pricing Analyst", goal="Know prices", backstory="You follow {market} prices.", llm=choose_llm())

    @task
    def look_up(self) -> Task:
        return Task(
            description="Note the prices in the {market} market\nSources:\n- Acme charges 49 dollars in the {market} market.",
            expected_output="Prices",
            agent=self.analyst(),
        )

    @crew
    def crew(self) -> Crew:
        return Crew(name="pricing", agents=self.agents, tasks=self.tasks)


crewmem.install()
inputs = {"market": "Nordic", "crewmem_session": "pricing nordic"}
print(PricingCrew().crew().kickoff(inputs=inputs))
print(PricingCrew().crew().kickoff(inputs=inputs))
print(crewmem.last_run())
