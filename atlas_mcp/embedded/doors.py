"""What the embedded Letta is given from outside: models, locks and a runner for uploaded tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


class ModelSource(Protocol):
    """Where the language models come from."""

    def handles(self) -> list[str]:
        """Every model handle that agents may use, the default first."""
        ...

    async def chat(self, handle: str) -> BaseChatModel:
        """The model of a handle. Raises LookupError, listing the handles, for one that it does not know."""
        ...


LockFactory = Callable[[str], AbstractAsyncContextManager[None]]
"""`async with lock(name):` holds that name alone; whoever comes second waits."""

MemoryCheck = Callable[[str], str]
"""(what an agent is about to keep) -> why it must not be kept, for its model to read; empty if it may."""

ToolRunner = Callable[[str, str, dict[str, Any]], Awaitable[str]]
"""(source code, function name, arguments) -> the tool's text. Raises an exception whose text a model can read."""
