"""Crews for tests, with a model that answers at once and keeps its prompts."""

from __future__ import annotations

import json
import threading
from typing import Any

from crewai import Agent, BaseLLM, Crew, Task


class ScriptedLLM(BaseLLM):
    """Answers `answer`, or what `answer(prompt)` gives or raises; `prompts` holds what it was asked, as text."""

    def __init__(self, answer: Any = "Acme charges 49 dollars.", **options: Any) -> None:
        super().__init__(model="scripted", **options)
        self._answer = answer
        self._prompts: list[str] = []
        self._guard = threading.Lock()

    @property
    def prompts(self) -> list[str]:
        with self._guard:
            return list(self._prompts)

    def call(self, messages: Any, *args: Any, **options: Any) -> str:
        prompt = messages if isinstance(messages, str) else "\n".join(str(message["content"]) for message in messages)
        with self._guard:
            self._prompts.append(prompt)
        return str(self._answer(prompt) if callable(self._answer) else self._answer)

    def get_input_tokens_count(self, messages: Any, *args: Any, **options: Any) -> int:
        return 1

    def supports_function_calling(self) -> bool:
        return False


def two_agent_crew(llm: BaseLLM, **options: Any) -> Crew:
    """A researcher and a writer; the research task takes `{topic}`."""
    researcher = Agent(role="Senior Researcher", goal="find facts", backstory="reads", llm=llm)
    writer = Agent(role="Content Writer", goal="write", backstory="writes", llm=llm)
    research = Task(description="Research {topic}", expected_output="findings", agent=researcher, name="research")
    write = Task(description="Write it down", expected_output="a summary", agent=writer)
    return Crew(name="research", agents=[researcher, writer], tasks=[research, write], **options)


def acting(*steps: tuple[str, dict[str, Any]], marker: str = "", answer: str = "Acme charges 49 dollars.") -> Any:
    """An `answer` for ScriptedLLM that calls these tools, one after another, in each task whose prompt holds `marker`."""

    def decide(prompt: str) -> str:
        _, _, since = prompt.partition("Current Task:")  # before it stands what CrewAI says of observations
        done = since.count("\nObservation:")
        if marker not in prompt or done >= len(steps):
            return f"Thought: I now know the final answer\nFinal Answer: {answer}"
        name, arguments = steps[done]
        return f"Thought: I use a tool\nAction: {name}\nAction Input: {json.dumps(arguments)}"

    return decide
