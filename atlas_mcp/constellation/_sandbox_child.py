"""The child of the sandbox: reads one job, closes itself in, runs the function, and writes one answer.

Run by its path in an isolated interpreter without site packages; it imports nothing of ours by name. The job and the
answer are JSON. Nothing that the source does can reach past the limits, which are set before the source is compiled. It
ends with its parent, where the system has means for that, and by itself after its time.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from typing import Any


class TooMuch(BaseException):
    """Raised when the source prints more than it may; not an Exception, so that it is not caught by accident."""


class Printed(io.TextIOBase):
    """Takes what the source prints, up to `limit` characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str, /) -> int:
        """Keep the text, or raise TooMuch."""
        self._length += len(text)
        if self._length > self._limit:
            self._kept.clear()
            raise TooMuch(f"it printed more than {self._limit:,} characters")
        self._kept.append(text)
        return len(text)

    def text(self) -> str:
        """All that was printed."""
        return "".join(self._kept)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What the function gives, or why it failed, as the parent reads it."""
    printed = Printed(job["output_chars"])
    sys.stdout = sys.stderr = printed
    try:
        names: dict[str, Any] = {"__name__": "tool"}
        exec(compile(job["source"], "<tool>", "exec"), names)  # noqa: S102 - running source is what the sandbox is for
        if not callable(function := names.get(job["function"])):
            return {"error": f"its source has no function {job['function']}"}
        text = as_text(function(**job["arguments"]), printed.text())
    except MemoryError:
        return {"error": f"it used more than {job['memory_mb']} MB of memory"}
    except BaseException as error:  # noqa: BLE001 - whatever the source raises is its answer
        return {"error": described(error)}
    if len(text) > job["output_chars"]:
        return {"error": f"its answer has {len(text):,} characters; the limit is {job['output_chars']:,}"}
    return {"text": text}


def as_text(value: object, printed: str) -> str:
    """A text as it is, other values as JSON; where nothing is returned, what was printed."""
    if value is None:
        return printed
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def described(error: BaseException) -> str:
    """The error with the line of the source that raised it."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<tool>":
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        said = str(error)[:1000]
    except BaseException:  # noqa: BLE001 - a hostile __str__ costs its own text only
        said = ""
    if isinstance(error, TooMuch):
        return said
    place = f" (line {line})" if line else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def close_in(job: dict[str, Any]) -> None:
    """See to it that the process ends, set its limits, close files and network, as far as this system has means."""
    spec = importlib.util.spec_from_file_location("platform_calls", job["platform"])
    if spec is None or spec.loader is None:
        raise ImportError(job["platform"])
    calls = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = calls
    spec.loader.exec_module(calls)
    calls.end_with(job["parent"])
    calls.end_after(job["seconds"])
    calls.limit_process(calls.Limits(cpu_seconds=job["cpu_seconds"], memory_bytes=job["memory_mb"] * 1_000_000))
    calls.confine_process(job["readable"], job["folder"], network=job["network"])


def main() -> None:
    """Take the job from the standard input and write the answer where the standard output was."""
    job = json.loads(sys.stdin.buffer.read())
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    sys.path.extend(job["packages"])
    try:
        close_in(job)
        said = answer(job)
    except BaseException as error:  # noqa: BLE001 - the parent must learn of it; the source has not run
        said = {"error": f"the sandbox could not be closed: {described(error)}"}
    with open(out, "wb", closefd=False) as file:
        file.write(json.dumps(said).encode())
    os._exit(0)  # no exit handlers, no waiting for threads of the source


if __name__ == "__main__":
    main()
