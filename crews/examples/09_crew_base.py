"""A project in CrewAI's own layout, `@CrewBase` with YAML: nothing in it changes, and the session comes with the inputs."""

import crewmem
from crewai import Agent, Crew, Task
from crewai.project import CrewBase, agent, crew, task
from crewmem.offline_llm import choose_llm


@CrewBase
class PricingCrew:
    agents_config = "09_config/agents.yaml"
    tasks_config = "09_config/tasks.yaml"

    @agent
    def analyst(self) -> Agent:
        return Agent(config=self.agents_config["analyst"], llm=choose_llm())

    @task
    def look_up(self) -> Task:
        return Task(config=self.tasks_config["look_up"])

    @crew
    def crew(self) -> Crew:
        return Crew(name="pricing", agents=self.agents, tasks=self.tasks)


crewmem.install()
inputs = {"market": "Nordic", "crewmem_session": "pricing, Nordic"}
print("first run:", PricingCrew().crew().kickoff(inputs=inputs))
print("second run:", PricingCrew().crew().kickoff(inputs=inputs))
print(crewmem.last_run())
