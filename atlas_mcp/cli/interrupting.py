"""Ctrl-C, and being told to stop, for a command that waits for somebody else's work.

By itself an interrupt cancels what is awaited, once; code that is just about to wait, or to clean up, may lose it, and
the command goes on. Here the scope around all of the work is cancelled, and stays so until everything in it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def interruptible(work: Callable[[], Awaitable[T]]) -> T:
    """What the work gives; KeyboardInterrupt when a signal says to stop, once the work has cleaned up."""
    done: list[T] = []
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_interrupted, tasks.cancel_scope)
            done.append(await work())
            tasks.cancel_scope.cancel()
    except ExceptionGroup as failures:
        raise innermost(failures) from None
    if not done:
        raise KeyboardInterrupt
    return done[0]


async def _cancel_when_interrupted(scope: anyio.CancelScope) -> None:
    from uvicorn.server import HANDLED_SIGNALS  # which signals mean "stop" on this platform

    try:
        with anyio.open_signal_receiver(*HANDLED_SIGNALS) as interrupts:
            async for _ in interrupts:
                scope.cancel()
                return
    except NotImplementedError:  # where the event loop has no signals, asyncio's own way is left
        pass


def innermost(failure: Exception) -> Exception:
    """The first failure that task groups have wrapped."""
    while isinstance(failure, ExceptionGroup):
        failure = cast("ExceptionGroup[Exception]", failure).exceptions[0]
    return failure
