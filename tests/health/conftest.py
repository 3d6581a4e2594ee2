"""A record with what happened in it, and a webhook receiver on loopback that verifies, hangs, fails and comes back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import insert

from atlas_mcp.store import tables
from atlas_mcp.store.home import open_home
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = b"a secret of thirty-two bytes, ok"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(params=["sqlite", "postgresql"])
async def record(request: pytest.FixtureRequest, home: Path) -> AsyncGenerator[Record]:
    """An empty record, on both databases."""
    database = Postgres(session_postgres().new_database()) if request.param == "postgresql" else None
    opened = open_home(home)
    if database is None:
        opened.prepare_databases()
    async with open_record(opened.path, database) as record:
        yield record


@dataclass
class Clock:
    """A clock that the test sets: what people see on the wall, and the steady one, which only goes forward."""

    wall: datetime = NOON
    steady: float = 1_000.0

    def now(self) -> datetime:
        return self.wall

    def seconds(self) -> float:
        return self.steady

    def pass_by(self, seconds: float) -> None:
        """Time passes, for both."""
        self.wall += timedelta(seconds=seconds)
        self.steady += seconds

    def jump(self, by: timedelta) -> None:
        """Somebody sets the clock on the wall."""
        self.wall += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def add_task(record: Record, run_id: str, *, at: datetime = NOON, caller: str = "local:me", **more: Any) -> None:
    """A team task, at work unless it is said otherwise."""
    row = {
        "id": run_id,
        "caller": caller,
        "kind": "team_task",
        "status": "working",
        "goal": f"the secret goal of {run_id}",
        "input": {},
        "progress": {},
        "usage": {},
        "needs": [],
        "trace_id": f"tr-{run_id}",
        "created_at": at,
        "updated_at": at,
        **more,
    }
    async with record.write() as db:
        await db.execute(insert(tables.run), row)


async def add_turns(
    record: Record, statuses: list[str], *, at: datetime = NOON, seconds: float = 2.0, **more: Any
) -> None:
    """Turns with these statuses, each of so many seconds."""
    rows = [
        {
            "id": f"turn-{at:%d%H%M%S}-{number}-{more.get('run_id')}",
            "key": f"{at:%d%H%M%S}-{number}-{more.get('run_id')}",
            "caller": "local:me",
            "agent": "librarian",
            "conversation": "c",
            "message": "words that nobody else may read",
            "status": status,
            "started_at": at,
            "finished_at": None if status == "started" else at + timedelta(seconds=seconds),
            **more,
        }
        for number, status in enumerate(statuses)
    ]
    async with record.write() as db:
        await db.execute(insert(tables.turn), rows)


async def spend(
    record: Record, usd: float, *, run_id: str | None = None, caller: str = "local:me", **more: Any
) -> None:
    """An entry of the ledger."""
    entry = {
        "turn": "t",
        "caller": caller,
        "run_id": run_id,
        "day": NOON.date().isoformat(),
        "model": "openai/scripted-1",
        "turns": 1,
        "tokens": 100,
        "usd": usd,
        **more,
    }
    async with record.write() as db:
        await db.execute(insert(tables.ledger), entry)


def rated(score: float) -> dict[str, Any]:
    """The result of a task whose best round was rated so."""
    rating = {"criterion": "clear", "score": score, "reason": "so it is", "rater": "quality_assurance", "round": 1}
    return {"output": "a text", "ratings": [rating]}


@dataclass
class Got:
    """A message whose signature was verified with the secret."""

    id: str
    content: dict[str, Any]


@dataclass
class Receiver:
    """What a user has at the webhook's address. `answer` is the status that it gives, or hangs while it is None."""

    answer: int | None = 200
    got: list[Got] = field(default_factory=list[Got])
    forged: int = 0
    tried: int = 0
    port: int = 0
    _news: threading.Condition = field(default_factory=threading.Condition)
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/a-path-that-is-a-secret"

    async def attempts(self, count: int) -> None:
        """Wait until it was tried that often in all, in whatever way it answered."""
        await anyio.to_thread.run_sync(self._wait, lambda: self.tried >= count, abandon_on_cancel=True)

    async def messages(self, count: int) -> list[Got]:
        """Wait until it has taken so many."""
        await anyio.to_thread.run_sync(self._wait, lambda: len(self.got) >= count, abandon_on_cancel=True)
        return self.got

    def _wait(self, happened: Any) -> None:
        with self._news:
            self._news.wait_for(happened, timeout=200)
            assert happened()

    def _take(self, headers: Any, body: bytes) -> int | None:
        with self._news:
            self.tried += 1
            answer = self.answer
            if answer is not None and not _verified(headers, body):
                self.forged += 1
                answer = 401
            elif answer == 200:
                self.got.append(Got(headers["webhook-id"], json.loads(body)))
            self._news.notify_all()
        return answer


def _verified(headers: Any, body: bytes) -> bool:
    """As the specification of Standard Webhooks has it, written anew and not with the code that is tested."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
    wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    given = [part.split(",", 1)[1] for part in headers["webhook-signature"].split() if part.startswith("v1,")]
    fresh = abs(datetime.now(UTC).timestamp() - int(headers["webhook-timestamp"])) < 300
    return fresh and any(hmac.compare_digest(wanted, one) for one in given)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = kept._take(self.headers, self.rfile.read(int(self.headers["content-length"])))
            if answer is None:
                kept._over.wait()  # not a word until the test is over
                return
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kept
    kept._over.set()
    server.shutdown()
    server.server_close()
