"""The child of the readers: closes itself in, then does one job after the other until its input ends.

Run by its path in an isolated interpreter. A job is a JSON header with `function` ("module:name"), `options` and
`bytes`, and so many bytes after it; the answer is a JSON object with `value`, or with `error`, a sentence for the
agent. Header and answer have their length before them, eight bytes. It ends with its parent.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, BinaryIO


class Unreadable(ValueError):
    """Raised by a function that cannot read its bytes; the text is told to the agent as it stands."""


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Do the jobs that come, until no more do."""
    while len(length := jobs.read(8)) == 8:
        job = json.loads(jobs.read(int.from_bytes(length, "big")))
        said = json.dumps(done(job, jobs.read(job["bytes"]))).encode("ascii")
        answers.write(len(said).to_bytes(8, "big") + said)
        answers.flush()


def done(job: dict[str, Any], body: bytes) -> dict[str, Any]:
    """What the job's function gives for the bytes, or why it gives nothing."""
    module, _, name = job["function"].partition(":")
    try:
        return {"value": getattr(importlib.import_module(module), name)(body, **job["options"])}
    except MemoryError:
        return {"error": "reading it takes more memory than it may"}
    except RecursionError:
        return {"error": "it is nested too deeply to be read"}
    except Exception as error:  # noqa: BLE001 - whatever a reader raises of a stranger's bytes is the job's answer
        if type(error).__name__ == Unreadable.__name__:
            return {"error": str(error)[:500]}
        return {"error": f"it cannot be read ({type(error).__name__}: {str(error)[:300]})"}


def main() -> None:
    """Close this process in and serve."""
    given = json.loads(sys.argv[1])
    sys.path.extend(path for path in given["path"] if path not in sys.path)
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(nothing, fd)
    calls = importlib.import_module("atlas_mcp.store._platform")
    calls.end_with(given["parent"])
    calls.limit_process(calls.Limits(cpu_seconds=given["cpu_seconds"], memory_bytes=given["memory_mb"] * 1_000_000))
    calls.confine_process(given["readable"], "", network=False)  # "": there is no folder that it may write to
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
