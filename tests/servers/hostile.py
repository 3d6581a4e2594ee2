"""A server over stdio, written by hand, that does what it is told to and should not: see `act`.

Its other tools are those of the file that TOOLS names, read at each listing; COUNT names a file that gets a line for
each start of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

ACT: dict[str, Any] = {
    "name": "act",
    "description": "Does something.",
    "inputSchema": {
        "type": "object",
        "properties": {"do": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["do"],
    },
}
_writing = threading.Lock()


def say(message: dict[str, Any]) -> None:
    raw(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def raw(text: str) -> None:
    with _writing:
        sys.stdout.write(text)
        sys.stdout.flush()


def tools() -> list[dict[str, Any]]:
    path = os.environ.get("TOOLS")
    return [ACT, *(json.loads(Path(path).read_text()) if path else [])]


def answer(request_id: Any, text: str, **more: Any) -> None:
    say({"id": request_id, "result": {"content": [{"type": "text", "text": text}], **more}})


def act(request: dict[str, Any]) -> None:
    request_id, params = request["id"], request["params"]
    do, n = params["arguments"]["do"], params["arguments"].get("n", 0)
    if do == "crash":
        sys.stderr.write("about to crash\n")
        sys.stderr.flush()
        os._exit(3)
    elif do == "hang":
        Path(os.environ["SEEN"]).write_text("hangs")
    elif do == "freeze":
        time.sleep(3_600)
    elif do == "broken":
        raw(f'{{"jsonrpc": "2.0", "id": {request_id}, "result": {{"content": [}}\n')
    elif do == "not-an-answer":
        say({"id": request_id, "result": {"content": "no list"}})
    elif do == "big":
        raw(f'{{"jsonrpc": "2.0", "id": {request_id}, "result": {{"content": [{{"type": "text", "text": "')
        for _ in range(n):
            raw("x" * 1_000_000)
        raw('"}]}}\n')
    elif do == "big-without-id":
        raw('{"jsonrpc": "2.0", "result": {"content": [{"type": "text", "text": "')
        for _ in range(n):
            raw("x" * 1_000_000)
        raw('"}], "a": 1}}\n')
    elif do == "long":
        answer(request_id, "word " * n)
    elif do == "flood":
        while True:
            say({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
    elif do == "noise":
        raw("Listening on port 1234\n\n{not json}\n")
        sys.stderr.write("an error of its own\n")
        sys.stderr.flush()
        answer(request_id, "after the noise")
    elif do == "fail":
        answer(request_id, "the disk is full", isError=True)
    elif do == "refuse":
        say({"id": request_id, "error": {"code": -32000, "message": "not today"}})
    elif do == "ask":
        say({"id": "s1", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}})
        ASKED["s1"] = request_id
    elif do == "progress":
        token = params["_meta"]["progressToken"]
        for i in range(n):
            time.sleep(0.5)
            say({"method": "notifications/progress", "params": {"progressToken": token, "progress": i}})
        answer(request_id, "done at last")
    elif do == "changed":
        answer(request_id, "told")
        say({"method": "notifications/tools/list_changed"})
    elif do == "pid":
        answer(request_id, str(os.getpid()))
    elif do == "environment":
        answer(request_id, "\n".join(sorted(os.environ)))
    elif do == "invisible":
        answer(request_id, "plain\u202e\u200b\x07text")
    else:
        answer(request_id, f"did {do}")


ASKED: dict[str, Any] = {}


def handle(request: dict[str, Any]) -> None:
    method, request_id = request.get("method"), request.get("id")
    if method == "initialize":
        result = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": os.environ.get("CALLED", "hostile"), "version": "1"},
        }
        say({"id": request_id, "result": result})
    elif method == "tools/list":
        say({"id": request_id, "result": {"tools": tools()}})
    elif method == "tools/call" and request["params"]["name"] == "act":
        act(request)
    elif method == "tools/call":
        if calls := os.environ.get("CALLS"):
            with Path(calls).open("a") as file:
                file.write(f"{request['params']['name']}\n")
        answer(request_id, f"called {request['params']['name']} with {json.dumps(request['params'].get('arguments'))}")
    elif method == "notifications/cancelled":
        Path(os.environ["SEEN"]).write_text("cancelled")
    elif method == "ping":
        say({"id": request_id, "result": {}})
    elif request_id in ASKED:
        answer(ASKED.pop(request_id), f"was told: {request.get('error', {}).get('message')}")
    elif method is not None and request_id is not None:
        say({"id": request_id, "error": {"code": -32601, "message": "Method not found"}})


def main() -> None:
    if count := os.environ.get("COUNT"):
        with Path(count).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if os.environ.get("STAY"):  # one that does not leave when its input ends
        threading.Thread(target=time.sleep, args=(3_600,)).start()
    if os.environ.get("MUTE"):
        time.sleep(3_600)
    for line in sys.stdin:
        handle(json.loads(line))


if __name__ == "__main__":
    main()
