"""What every request shares: the file, the models, the locks, the runs of this moment, the tasks in the background."""

from __future__ import annotations

import gc
import importlib
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from atlas_mcp.embedded.erasing import lock_of
from atlas_mcp.embedded.faults import Refused, model_fault
from atlas_mcp.embedded.recent import Recent

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from langchain_core.language_models.chat_models import BaseChatModel

    from atlas_mcp.embedded.database import Database
    from atlas_mcp.embedded.doors import LockFactory, MemoryCheck, ModelSource, ToolRunner
    from atlas_mcp.embedded.usage import Usage

_MOST_GRAPHS = 64
_MOST_OWNERS = 10_000


class ThreadLocks:
    """Locks by name within this process, first come first served; a name that nobody uses takes no memory."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[anyio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncGenerator[None]:
        lock, users = self._locks.get(name, (anyio.Lock(fast_acquire=True), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(name)
            if users > 1:
                self._locks[name] = (lock, users - 1)


@dataclass
class ActiveRun:
    """A run that this process works on now, or that waits for its thread; `used` is what its models took so far."""

    id: str
    agent_id: str
    thread_id: str
    created_at: str
    background: bool
    scope: anyio.CancelScope
    started: bool = False
    used: Usage | None = None


@dataclass
class Services:
    database: Database
    models: ModelSource
    lock: LockFactory
    run_tool: ToolRunner | None
    context_tokens: int
    check_memory: MemoryCheck | None = None
    active: dict[str, ActiveRun] = field(default_factory=dict[str, ActiveRun])
    background: TaskGroup | None = None
    recent: Recent = field(default_factory=Recent)
    owners: dict[str, str] = field(default_factory=dict[str, str])
    """Whose a conversation is, as far as known here. It never changes; only that the conversation may be gone."""
    _graphs: OrderedDict[tuple[str, ...], tuple[Any, Any]] = field(
        default_factory=OrderedDict[tuple[str, ...], "tuple[Any, Any]"]
    )

    def alone_in(self, thread_id: str) -> AbstractAsyncContextManager[None]:
        """Nobody else has a turn in the thread, or changes it, while this is held."""
        return self.lock(lock_of(thread_id))

    def known_model(self, handle: str | None) -> str:
        """The handle, or the first one there is for None. Raises a 404 that lists them for an unknown one."""
        handles = self.models.handles()
        if handle is None and handles:
            return handles[0]
        if handle is None or handle not in handles:
            raise Refused(404, f"NOT_FOUND: Handle {handle} not found, must be one of {handles}")
        return handle

    async def chat(self, handle: str) -> BaseChatModel:
        """The model of a handle. Raises a 404 for an unknown one, ModelFault when it cannot be made."""
        try:
            return await self.models.chat(handle)
        except LookupError as error:
            raise Refused(404, f"NOT_FOUND: {error.args[0] if error.args else handle}") from None
        except Exception as error:
            raise model_fault(error) from error

    def note_owner(self, conversation_id: str, agent_id: str) -> str:
        """Keeps whose the conversation is, and gives it back."""
        if len(self.owners) >= _MOST_OWNERS:
            self.owners.clear()
        self.owners[conversation_id] = agent_id
        return agent_id

    async def graph(self, handle: str, model: BaseChatModel, schemas: tuple[str, ...]) -> Any:
        """The compiled loop for a model and tools, made at its first use and kept while it is among the last used."""
        key = (handle, *schemas)
        kept = self._graphs.get(key)
        if kept is not None and kept[0] is model:
            self._graphs.move_to_end(key)
            return kept[1]
        module: Any = await load_module("graph")
        graph = await anyio.to_thread.run_sync(module.compile_agent, model, schemas)
        self._graphs[key] = (model, graph)
        if len(self._graphs) > _MOST_GRAPHS:
            self._graphs.popitem(last=False)
        return graph


async def load_module(name: str) -> Any:
    """A module of this package that imports LangChain, imported off the event loop the first time."""
    full = f"atlas_mcp.embedded.{name}"
    if (module := sys.modules.get(full)) is not None and not getattr(module.__spec__, "_initializing", False):
        return module
    return await anyio.to_thread.run_sync(_import, full)


def _import(full: str) -> Any:
    module = importlib.import_module(full)
    # LangChain's hundred thousands of objects stay as long as the process. Looked through at each full collection they
    # cost a busy server a fifth of its time.
    gc.collect()
    gc.freeze()
    return module
