"""A model for Claude Code on loopback: it does what it is told to do, and keeps what it was shown.

Only requests that have the tools of a session count: programs like it ask in passing for titles and the like, and get
a word. It is no way to the network: what is asked of it as of a proxy is refused.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Use:
    """A turn that uses a tool."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])


Turn = Use | str
"""What the model does: use a tool, or say something and leave it at that."""


class StubModel(ThreadingHTTPServer):
    """Speaks as much of the Messages API as is needed."""

    daemon_threads = True

    def __init__(self, turn: Callable[[str], Turn]) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self._turn = turn
        self.asked: list[dict[str, Any]] = []
        """The sessions' requests, as they came."""

    @property
    def url(self) -> str:
        """Where it listens, on loopback."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next(self, request: dict[str, Any]) -> Turn:
        """Its turn, for the last message of that request."""
        if not request.get("tools"):
            return "ok"
        self.asked.append(request)
        said = [message for message in request["messages"] if message["role"] == "user"]
        return self._turn("\n".join(_texts(said[-1]["content"])))

    def offered(self) -> dict[str, dict[str, Any]]:
        """The tools that it was shown, by name."""
        return {tool["name"]: tool for request in self.asked for tool in request["tools"]}

    def heard(self) -> str:
        """All that users and tools have said to it."""
        return "\n".join(text for request in self.asked for m in request["messages"] for text in _texts(m["content"]))


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [
        text for part in content for text in ([part["text"]] if "text" in part else _texts(part.get("content", [])))
    ]


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StubModel

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        self.send_error(403, "there is no network here")

    def do_HEAD(self) -> None:
        self._answer(b"", "application/json")

    def do_GET(self) -> None:
        self._answer(b'{"data": []}', "application/json")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        if "count_tokens" in self.path or "/messages" not in self.path:
            return self._answer(b'{"input_tokens": 10}', "application/json")
        message, block, delta = _message(request.get("model"), self.server.next(request))
        if not request.get("stream"):
            return self._answer(json.dumps(message).encode(), "application/json")
        stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        events = [
            ("message_start", {"message": message | {"content": [], "stop_reason": None}}),
            ("content_block_start", {"index": 0, "content_block": block}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": stop, "usage": {"output_tokens": 5}}),
            ("message_stop", {}),
        ]
        lines = [f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events]
        return self._answer("".join(lines).encode(), "text/event-stream")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _message(model: Any, turn: Turn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The whole message; and its only block as it begins in a stream, and what is then added to it."""
    if isinstance(turn, str):
        whole, empty = {"type": "text", "text": turn}, {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": turn}
    else:
        empty = {"type": "tool_use", "id": f"toolu_{uuid4().hex}", "name": turn.tool, "input": {}}
        whole = empty | {"input": turn.arguments}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(turn.arguments)}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [whole]}
    reason = "end_turn" if isinstance(turn, str) else "tool_use"
    usage = {"input_tokens": 1, "output_tokens": 1}
    return message | {"stop_reason": reason, "stop_sequence": None, "usage": usage}, empty, delta


@contextmanager
def stub_model(turn: Callable[[str], Turn]) -> Iterator[StubModel]:
    """A model that does what `turn` gives for the last message to it, until the block is left."""
    with StubModel(turn) as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield model
        model.shutdown()
