"""The process in which NeMo Guardrails works: `python -m atlas_mcp.guard.rails_child FOLDER`.

It is apart from the server because a configuration holds programs of its user's, which may block, print or crash, and
because the package takes seconds to import. Lines of JSON come and go: first {"ready": {"input": true, ...}} or
{"error": ...}; then for each {"id", "direction", "text", "task"} one {"id", "status", "content", "rail"} or
{"id", "error"}, in the order in which they are done. It ends with its standard input. What is printed goes to its
standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib import import_module
from typing import Any, BinaryIO


async def main(folder: str, answers: BinaryIO) -> None:
    """Answer until the standard input ends."""

    def say(**told: Any) -> None:
        answers.write(json.dumps(told).encode() + b"\n")
        answers.flush()

    try:
        rails, types, there = _open(folder)
    except Exception as error:  # noqa: BLE001 - whatever a configuration of the user's raises is told to them
        say(error=_in_words(error))
        return
    say(ready=there)

    async def answer(asked: dict[str, Any]) -> None:
        kind = types.INPUT if asked["direction"] == "entering" else types.OUTPUT
        messages = [{"role": "user", "content": asked["text"]}]
        if kind is types.OUTPUT:
            messages = [{"role": "user", "content": asked["task"]}, {"role": "assistant", "content": asked["text"]}]
        try:
            found = await rails.check_async(messages, rail_types=[kind])
        except Exception as error:  # noqa: BLE001 - as above
            say(id=asked["id"], error=_in_words(error))
        else:
            say(id=asked["id"], status=found.status.value, content=found.content, rail=found.rail or "")

    loop, at_work = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
        task = loop.create_task(answer(json.loads(line)))
        at_work.add(task)
        task.add_done_callback(at_work.discard)


def _open(folder: str) -> tuple[Any, Any, dict[str, bool]]:
    package: Any = import_module("nemoguardrails")
    types: Any = import_module("nemoguardrails.rails.llm.options").RailType
    made: Any = package.LLMRails(package.RailsConfig.from_path(folder))
    return made, types, {kind: bool(getattr(made.config.rails, kind).flows) for kind in ("input", "output")}


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:600]


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the rails print is no answer
    asyncio.run(main(sys.argv[1], own))
