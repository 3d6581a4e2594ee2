"""A model of LangChain's that answers at once, for the peers that are built on it."""

from collections.abc import Callable
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

made = [0]


class Instant(BaseChatModel):
    """Says what `answer` makes of the messages so far; `made` counts the calls of all of them."""

    answer: Callable[[Any], AIMessage]

    @property
    def _llm_type(self) -> str:
        return "instant"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        made[0] += 1
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])


def worker(_: Any) -> AIMessage:
    """What a worker says."""
    return AIMessage("worker result")
