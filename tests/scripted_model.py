"""The tests' own model: an OpenAI-compatible server on loopback that answers at once, as the test tells it.

    with ScriptedModel() as model:
        model.script(["hello", {"tool": "add", "args": {"a": 1}}, {"status": 500}])   # the next replies, in order
        model.on('title="Plan"', {"json": {...}})                                     # whenever the prompt says so
        model.hold(); ...; model.wait_for_calls(2); ...; model.release()              # nothing sleeps: replies wait
    model.wait_for_dropped(1)                                # the caller of a reply that waits closed its connection

A reply is a text, or a dict with one of
    text, json (an object, sent as text), tool + args (one tool call), tools ([[name, args], ...], several at once),
    status + message (an HTTP error that clients may retry at once; `headers` too),
    raw (a body that is no valid answer), call (a function from the request body to a reply; this process only),
and with any of `hold: true` (this reply waits for release()), `hold_after: n` (a stream waits after n chunks),
`break_after: n` (the connection breaks after n chunks of a stream), `delay: s` (the model takes s seconds to think).

Which reply: the first rule of `on` that matches, else the next of `script`, else the directives in the last user
message, else "ok: " and the end of that message. A rule's or a message's steps are counted by the tool results since
the last user message, so that a tool call is made once and then answered. Directives, for programs in another process:
    @@tool NAME {"json": "arguments"}   @@say TEXT   @@status 429   @@hold
The same is done over HTTP from any process:
    POST /control/script {"replies": [...]}     POST /control/on {"contains": "...", "reply": ..., "times": 1}
    POST /control/hold   POST /control/release   POST /control/reset
    GET /control/calls[?wait=N]   GET /control/requests
Embeddings come at once too, and near for texts that share words; `embeddings` counts the texts.
`python tests/scripted_model.py [port]` serves until it is killed; its first line is its URL.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import math
import re
import socket
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qs

import anyio.to_thread
import uvicorn

MODEL = "scripted-1"
DIMENSIONS = 1536
Reply = str | dict[str, Any]
Request = dict[str, Any]
Matcher = str | Callable[[Request], bool]
_DIRECTIVE = re.compile(r"@@(tool|say|status|hold)\b[ ]*([^\n]*)")


@dataclass
class _Rule:
    matcher: Matcher
    steps: list[Reply]
    times: int | None

    def matches(self, request: Request) -> bool:
        if self.times == 0:
            return False
        if callable(self.matcher):
            return self.matcher(request)
        return self.matcher in last_user_text(request)


class ScriptedModel:
    """The server and its script; enter it to listen. Every method may be called from any thread."""

    def __init__(self, port: int = 0) -> None:
        self._changed = threading.Condition()
        self._rules: list[_Rule] = []
        self._queue: deque[Reply] = deque()
        self._held = False
        self._releases = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchers: list[asyncio.Event] = []
        self._ids = itertools.count(1)
        self.requests: list[Request] = []
        self.embeddings = 0
        self.dropped = 0
        self.keys: list[str] = []
        self.headers: dict[str, str] = {}  # sent with every answer
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", port))
        self._socket.listen(128)
        config = uvicorn.Config(
            self._app, interface="asgi3", ws="none", log_level="critical", access_log=False, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=partial(self._server.run, [self._socket]), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5)
        self._socket.close()

    @property
    def root(self) -> str:
        """The server's address, without /v1: the control endpoints stand under it."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """What to set as OPENAI_BASE_URL."""
        return f"{self.root}/v1"

    @property
    def calls(self) -> int:
        """How many chat completions were asked for, answered or not."""
        return len(self.requests)

    @property
    def last(self) -> Request:
        """The body of the last chat completion request."""
        return self.requests[-1]

    def script(self, replies: Iterable[Reply]) -> None:
        """Append replies; each answers one request that no rule answers."""
        with self._changed:
            self._queue.extend(replies)

    def on(self, matcher: Matcher, reply: Reply | Sequence[Reply], *, times: int | None = None) -> None:
        """Answer requests whose last user message contains `matcher` (or for which it is true), `times` times.

        A list of replies is one turn's steps: the first, then what follows the first tool result, and so on.
        """
        steps: list[Reply] = [reply] if isinstance(reply, str | dict) else list(reply)
        with self._changed:
            self._rules.append(_Rule(matcher, steps, times))

    def hold(self) -> None:
        """Let every answer from now on wait until `release`."""
        with self._changed:
            self._held = True

    def release(self) -> None:
        """Let go of everything that waits, and hold nothing any more."""
        with self._changed:
            self._held = False
            self._releases += 1
            self._tell()

    def reset(self) -> None:
        """Forget the script, the rules and the requests; release what waits."""
        self.release()
        with self._changed:
            self._rules.clear()
            self._queue.clear()
            self.requests.clear()
            self.keys.clear()

    def wait_for_calls(self, count: int, seconds: float = 60) -> None:
        """Block until `count` requests have arrived; TimeoutError after `seconds`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls >= count, seconds):
                raise TimeoutError(f"{self.calls} of {count} model calls arrived within {seconds} s")

    def wait_for_dropped(self, count: int, seconds: float = 60) -> None:
        """Block until the connections of `count` held requests were closed from the other side; TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.dropped >= count, seconds):
                raise TimeoutError(f"{self.dropped} of {count} model calls were dropped within {seconds} s")

    async def arrived(self, count: int, seconds: float = 60) -> None:
        """`wait_for_calls` for async tests."""
        await anyio.to_thread.run_sync(self.wait_for_calls, count, seconds)

    # -- deciding

    def _take(self, request: Request, key: str) -> tuple[int, dict[str, Any]]:
        """Record the request and decide its reply, in one step; with the count of releases there were until now."""
        with self._changed:
            self.requests.append(request)
            self.keys.append(key)
            reply: Any = self._decide(request)
            while isinstance(reply, dict) and "call" in reply:
                reply = reply["call"](request)
            reply = {"text": reply} if isinstance(reply, str) else dict(reply)
            if self._held:
                reply["hold"] = True
            self._tell()
            return self._releases, reply

    def _decide(self, request: Request) -> Reply:
        step = tool_results(request)
        for rule in self._rules:
            if rule.matches(request):
                if rule.times is not None:
                    rule.times -= 1
                return rule.steps[step] if step < len(rule.steps) else "ok"
        if self._queue:
            return self._queue.popleft()
        return _directed(last_user_text(request), step)

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait in the server's loop until it holds; every call and every release looks again."""
        news = asyncio.Event()
        self._watchers.append(news)
        try:
            while not true():
                await news.wait()
                news.clear()
        finally:
            self._watchers.remove(news)

    async def _released(self, since: int, receive: Any) -> bool:
        """Wait for a release after that count; False if the connection is closed before."""
        release = asyncio.ensure_future(self._until(lambda: self._releases != since))
        closed = asyncio.ensure_future(_closed(receive))
        await asyncio.wait({release, closed}, return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        if release.done():
            return True
        release.cancel()
        with self._changed:
            self.dropped += 1
            self._tell()
        return False

    def _tell(self) -> None:
        """Wake everyone who waits, in threads and in the server's loop."""
        self._changed.notify_all()
        if self._loop:
            for news in self._watchers:
                self._loop.call_soon_threadsafe(news.set)

    # -- serving

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self._loop = asyncio.get_running_loop()
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path: str = scope["path"].rstrip("/")
        answer = _Answer(send, self.headers)
        if path.startswith("/control/"):
            query = parse_qs(scope.get("query_string", b"").decode())
            await answer.json(await self._control(path.removeprefix("/control/"), json.loads(body or b"{}"), query))
        elif path.endswith("/models"):
            await answer.json({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "scripted"}]})
        elif path.endswith("/embeddings"):
            await answer.json(self._embedded(json.loads(body)))
        elif path.endswith("/chat/completions"):
            headers = dict(scope["headers"])
            key = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
            await self._complete(json.loads(body), key, answer, receive)
        else:
            await answer.json({"error": {"message": f"no route {path}", "type": "not_found"}}, 404)

    async def _control(self, action: str, body: dict[str, Any], query: dict[str, list[str]]) -> Any:
        match action:
            case "script":
                self.script(body["replies"])
            case "on":
                self.on(body["contains"], body["reply"], times=body.get("times"))
            case "hold":
                self.hold()
            case "release":
                self.release()
            case "reset":
                self.reset()
            case "requests":
                return list(self.requests)
            case _:
                count = int(query.get("wait", ["0"])[0])
                await self._until(lambda: self.calls >= count)
        return {"calls": self.calls}

    def _embedded(self, request: Request) -> dict[str, Any]:
        given = request["input"]
        texts = [str(text) for text in given] if isinstance(given, list) else [str(given)]
        with self._changed:
            self.embeddings += len(texts)
        size = request.get("dimensions") or DIMENSIONS
        compact = request.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": n, "embedding": _vector(text, size, compact=compact)}
            for n, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return {"object": "list", "model": request.get("model", ""), "data": data, "usage": usage}

    async def _complete(self, request: Request, key: str, answer: _Answer, receive: Any) -> None:
        since, reply = self._take(request, key)
        if reply.get("hold") and not await self._released(since, receive):
            return None
        if reply.get("delay"):
            await asyncio.sleep(reply["delay"])
        if "status" in reply:
            error = {"error": {"message": reply.get("message", "scripted failure"), "type": "scripted", "code": None}}
            return await answer.json(error, reply["status"], {"retry-after-ms": "1", **reply.get("headers", {})})
        if "raw" in reply:
            return await answer.raw(reply["raw"].encode())
        message, finish = self._message(reply)
        frame = {"id": f"chatcmpl-{next(self._ids)}", "created": 0, "model": request.get("model", MODEL)}
        usage = _usage(request, message)
        if not request.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            return await answer.json({**frame, "object": "chat.completion", "choices": [choice], "usage": usage})
        chunks = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in _deltas(message)]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": usage}]
        await answer.start("text/event-stream")
        for n, chunk in enumerate(chunks):
            if reply.get("hold_after") == n:
                await self._until(lambda: self._releases != since)
            if reply.get("break_after") == n:
                raise ConnectionResetError("scripted break of the stream")
            await answer.part({**frame, "object": "chat.completion.chunk", **chunk})
        return await answer.end(b"data: [DONE]\n\n")

    def _message(self, reply: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if "tool" in reply:
            calls = [(reply["tool"], reply.get("args", {}))]
        else:
            calls = [(name, arguments) for name, arguments in reply.get("tools", [])]
        if not calls:
            text = json.dumps(reply["json"]) if "json" in reply else reply.get("text", "")
            return {"role": "assistant", "content": text}, "stop"
        tool_calls = [
            {
                "id": f"call_{next(self._ids)}",
                "type": "function",
                "function": {"name": n, "arguments": a if isinstance(a, str) else json.dumps(a)},
            }
            for n, a in calls
        ]
        return {"role": "assistant", "content": reply.get("text"), "tool_calls": tool_calls}, "tool_calls"


async def _closed(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Answer:
    """The sending side of one HTTP exchange."""

    def __init__(self, send: Any, headers: dict[str, str]) -> None:
        self._send = send
        self._headers = headers

    async def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        await self.start("application/json", status, headers)
        await self.end(json.dumps(value).encode())

    async def raw(self, body: bytes) -> None:
        await self.start("application/json")
        await self.end(body)

    async def start(self, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        given = {**self._headers, **(headers or {})}
        pairs = [(b"content-type", kind.encode()), *((k.encode(), v.encode()) for k, v in given.items())]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def part(self, value: Any) -> None:
        data = b"data: " + json.dumps(value).encode() + b"\n\n"
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body})


def text_of(content: Any) -> str:
    """A message's text, whether it came as a string or in parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


def last_user_text(request: Request) -> str:
    """The text of the last user message, or an empty one."""
    users = [m for m in request.get("messages", []) if m.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def system_text(request: Request) -> str:
    """The text of the system messages."""
    messages = request.get("messages", [])
    return "\n".join(text_of(m.get("content")) for m in messages if m.get("role") in ("system", "developer"))


def tool_results(request: Request) -> int:
    """How many model calls of this turn were answered by tools: rounds, not results."""
    rounds = 0
    for message in request.get("messages", []):
        if message.get("role") == "user":
            rounds = 0
        elif message.get("role") == "assistant" and message.get("tool_calls"):
            rounds += 1
    return rounds


def tool_names(request: Request) -> list[str]:
    """The names of the tools that were offered."""
    return [t["function"]["name"] for t in request.get("tools") or []]


def _directed(text: str, step: int) -> Reply:
    found = _DIRECTIVE.findall(text)
    tools = [rest for verb, rest in found if verb == "tool"]
    hold = {"hold": True} if step == 0 and any(verb == "hold" for verb, _ in found) else {}
    if step < len(tools):
        name, _, arguments = tools[step].strip().partition(" ")
        return {"tool": name, "args": arguments.strip() or "{}", **hold}
    for verb, rest in found:
        if verb == "status" and not step:
            return {"status": int(rest.strip()), **hold}
        if verb == "say":
            return {"text": rest.strip(), **hold}
    return {"text": "ok: " + " ".join(text.split())[-60:], **hold}


def _vector(text: str, size: int, *, compact: bool) -> list[float] | str:
    """A unit vector of the words in a text: hashed, so that texts which share words are near each other."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [""]:
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % size] += 1.0
    length = math.sqrt(sum(x * x for x in vector))
    vector = [x / length for x in vector]
    return base64.b64encode(array("f", vector).tobytes()).decode() if compact else vector


def _deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message as the deltas of a stream: word by word, tool arguments in halves."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": w} for w in re.findall(r"\s*\S+\s*", message["content"] or "")]
    for index, call in enumerate(message.get("tool_calls", [])):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        half = len(arguments) // 2
        head = {"index": index, "id": call["id"], "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": a}}]}
            for a in (arguments[:half], arguments[half:])
        ]
    return deltas


def _usage(request: Request, message: dict[str, Any]) -> dict[str, int]:
    sent, got = len(json.dumps(request.get("messages", []))) // 4, max(1, len(json.dumps(message)) // 4)
    return {"prompt_tokens": sent, "completion_tokens": got, "total_tokens": sent + got}


if __name__ == "__main__":
    with ScriptedModel(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as served:
        print(served.url, flush=True)
        threading.Event().wait()
