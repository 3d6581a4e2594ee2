"""CrewAI: a plan, three asynchronous tasks, a synthesis; the same crew each time."""

import logging
from typing import Any

from _harness import measure
from crewai import Agent, Crew, Process, Task
from crewai.llms.base_llm import BaseLLM

logging.disable(logging.CRITICAL)
made = 0


class Instant(BaseLLM):
    def call(self, messages: Any, *_: Any, **__: Any) -> str:
        global made
        made += 1
        return "Thought: I now can give a great answer\nFinal Answer: ok"

    async def acall(self, messages: Any, *_: Any, **__: Any) -> str:
        return self.call(messages)

    def supports_function_calling(self) -> bool:
        return False

    def supports_stop_words(self) -> bool:
        return False

    def get_context_window_size(self) -> int:
        return 8192


model = Instant(model="instant")


def agent(name: str) -> Agent:
    return Agent(role=name, goal="work", backstory="none", llm=model, verbose=False, allow_delegation=False)


supervisor, workers = agent("supervisor"), [agent(f"w{n}") for n in range(3)]
plan = Task(description="plan", expected_output="a plan", agent=supervisor)
parts = [
    Task(description="work", expected_output="a result", agent=w, async_execution=True, context=[plan]) for w in workers
]
final = Task(description="merge", expected_output="a result", agent=supervisor, context=parts)
crew = Crew(
    agents=[supervisor, *workers], tasks=[plan, *parts, final], process=Process.sequential, verbose=False, tracing=False
)


async def task() -> None:
    assert str(await crew.akickoff(inputs={}))


measure("CrewAI, asynchronous tasks", task, lambda: made)
