"""A model that stands for several: the first answers, and when its provider fails, the next one does.

To LangChain it is one chat model: tools bind to it, it streams, agents are made from it. Promises: a provider's
exception never comes through, only ModelFailed with a text for people; nothing is asked twice here (the providers' own
clients are the only layer that retries); a bad request of ours goes to no second model; once a word of an answer was
streamed, no other model goes on with it. An empty text is an answer; a response without any answer in it is a failure.
Which model answered stands in the answer's `response_metadata` as `atlas_handle`, and one that stood in for another has
a span of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from opentelemetry import trace

from atlas_mcp.models.catalog import ModelName
from atlas_mcp.models.failures import Failure, raise_failed, understand
from atlas_mcp.models.remaining import Remaining

HANDLE_KEY = "atlas_handle"
_tracer = trace.get_tracer("atlas.models")
_REASONS = ("finish_reason", "stop_reason", "done_reason", "status")  # as the providers call it


@dataclass(frozen=True)
class Member:
    """One model of a chain, asked through the interface that models have for those who wrap them.

    The public one would report each call to the callbacks twice.
    """

    name: ModelName
    model: BaseChatModel
    remaining: Remaining = field(default_factory=Remaining)

    async def answer(self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]) -> ChatResult:
        """The whole answer; EOFError when there was none in what came."""
        return self._whole(await self.model._agenerate(messages, stop, **self._arguments(given)))  # pyright: ignore[reportPrivateUsage]  # as said above

    def answer_now(self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]) -> ChatResult:
        """The same without a loop."""
        return self._whole(self.model._generate(messages, stop, **self._arguments(given)))  # pyright: ignore[reportPrivateUsage]  # as said above

    async def stream(
        self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk]:
        """The answer in chunks; the first carries the model's handle. EOFError when there was none in what came."""
        source = self.model._astream(messages, stop, **self._arguments(given))  # pyright: ignore[reportPrivateUsage]  # as said above
        silent: list[ChatGenerationChunk] = []
        spoken = False
        async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", source)) as chunks:
            async for chunk in chunks:
                if spoken:
                    yield chunk
                    continue
                self.remaining.take(self.name.provider.name, chunk)
                silent.append(chunk)
                if _says_something(chunk):
                    spoken = True
                    silent[0].message.response_metadata[HANDLE_KEY] = self.name.handle
                    for held in silent:
                        yield held
        if not spoken:
            if not any(_ends(chunk) for chunk in silent):
                raise EOFError("nothing came")
            silent[0].message.response_metadata[HANDLE_KEY] = self.name.handle
            for held in silent:
                yield held

    def _whole(self, result: ChatResult) -> ChatResult:
        if not result.generations:
            raise EOFError("nothing came")
        for generation in result.generations:
            self.remaining.take(self.name.provider.name, generation)
        return result

    def _arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """Call arguments as this provider wants them: tools were bound in the common form."""
        if "tools" not in given:
            return given
        options = {k: v for k, v in given.items() if k != "tools" and not (k == "tool_choice" and v is None)}
        bound = self.model.bind_tools(given["tools"], **options)
        return dict(bound.kwargs) if isinstance(bound, RunnableBinding) else given


class ChainModel(BaseChatModel):
    """The chain; `members` in the order they are asked, `secrets` what must never stand in an error."""

    members: tuple[Member, ...]
    secrets: tuple[str, ...] = ()

    @property
    def _llm_type(self) -> str:
        return "atlas-chain"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"models": [member.name.text for member in self.members]}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The chain with these tools, for whichever model answers."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        failures: list[Failure] = []
        for member in self.members:
            with _standing_in(member, failures):
                try:
                    return _marked(await member.answer(messages, stop, kwargs), member)
                except Exception as error:  # noqa: BLE001  # whatever a provider's client raises is its failure
                    self._note(failures, member, error)
        raise raise_failed(failures)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        failures: list[Failure] = []
        for member in self.members:
            spoken = False
            with _standing_in(member, failures):
                try:
                    async with aclosing(member.stream(messages, stop, kwargs)) as chunks:
                        async for chunk in chunks:
                            spoken = True
                            yield chunk
                except Exception as error:  # noqa: BLE001  # as above
                    self._note(failures, member, error)
                    if spoken:
                        break
                else:
                    return
        raise raise_failed(failures)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        failures: list[Failure] = []
        for member in self.members:
            with _standing_in(member, failures):
                try:
                    return _marked(member.answer_now(messages, stop, kwargs), member)
                except Exception as error:  # noqa: BLE001  # as above
                    self._note(failures, member, error)
        raise raise_failed(failures)

    def _note(self, failures: list[Failure], member: Member, error: Exception) -> None:
        """Add the failure; raise when asking another model cannot help."""
        failure = understand(member.name, error, self.secrets)
        failures.append(failure)
        told = {"gen_ai.request.model": failure.model, "atlas.why": str(failure), "atlas.transient": failure.transient}
        trace.get_current_span().add_event("model failed", told)  # the model call's span, which may yet end well
        if failure.bad_request:
            raise raise_failed(failures) from error


@contextmanager
def _standing_in(member: Member, failures: Sequence[Failure]) -> Generator[None]:
    """A span of its own for the answer of a model that is asked because others failed.

    It never becomes the current one: a stream may be closed in another task than the one that began it.
    """
    if not failures:
        yield
        return
    instead = {"gen_ai.request.model": member.name.text, "atlas.instead_of": failures[-1].model}
    opened = _tracer.start_span(f"fallback {member.name.text}", attributes={"mlflow.spanType": "TASK", **instead})
    before, error = len(failures), ""
    try:
        yield
    except BaseException as raised:
        error = type(raised).__name__ if isinstance(raised, Exception) else "cancelled"
        raise
    finally:
        if error or len(failures) > before:
            opened.set_status(trace.StatusCode.ERROR, str(failures[-1]) if len(failures) > before else error)
        opened.end()


def _says_something(chunk: ChatGenerationChunk) -> bool:
    message = chunk.message
    return bool(message.content) or (isinstance(message, AIMessageChunk) and bool(message.tool_call_chunks))


def _ends(chunk: ChatGenerationChunk) -> bool:
    """Whether the model said with this chunk why it stopped: then an answer without a word was meant."""
    said = chunk.message.response_metadata | (chunk.generation_info or {})
    return any(said.get(reason) for reason in _REASONS)


def _marked(result: ChatResult, member: Member) -> ChatResult:
    for generation in result.generations:
        generation.message.response_metadata[HANDLE_KEY] = member.name.handle
    return result
