"""Lettas at an address, the served embedded one and Letta's own server, and one process's ATLAS before them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from letta_client import AsyncLetta
from letta_client import Letta as LettaClient

from atlas_mcp.constellation.constellation import Constellation
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.letta.breaker import Breaker, BreakingClient
from atlas_mcp.letta.door import Letta
from atlas_mcp.letta.finding import Patience
from atlas_mcp.letta.states import Abilities
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import Record, open_record
from tests.constellation.conftest import NoTools
from tests.real_letta import RealLetta
from tests.scripted_model import ScriptedModel

QUICK = Patience(first_event=8, event=60, grace=4, away=4, busy=6)
"""Shorter than people's, and long enough for a server that needs a second to begin what it was sent."""


@dataclass(frozen=True)
class Far:
    """A Letta server and what it takes to use it. `served` is `atlas-mcp letta`, `real` Letta's own server."""

    kind: Literal["served", "real"]
    url: str
    key: str
    scripted: ScriptedModel
    model: str
    embedding: str | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a turn goes on when its client is gone. On purpose the two differ: the embedded Letta ends it, frees
        the thread and keeps nothing, since there the client is usually the process itself.
        """
        return self.kind == "real"

    @property
    def environment(self) -> dict[str, str]:
        """What an `atlas-mcp serve` needs to use it."""
        more = {"LETTA_EMBEDDING_MODEL": self.embedding} if self.embedding else {}
        return {"LETTA_BASE_URL": self.url, "LETTA_API_KEY": self.key, "LETTA_MODEL": self.model, **more}

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[AsyncLetta]:
        """A client that goes there straight."""
        async with AsyncLetta(base_url=self.url, api_key=self.key, max_retries=0) as client:
            yield client

    async def messages(self, thread: str, kind: str = "user_message") -> list[str]:
        """What stands in the thread of that type, oldest first."""
        async with self.client() as client:
            if thread.startswith("agent-"):
                page = client.agents.messages.list(thread, order="asc", limit=100)
            else:
                page = client.conversations.messages.list(thread, order="asc", limit=100)
            return [_text(m) async for m in page if m.message_type == kind and _text(m) and not _heartbeat(m)]


@dataclass
class Side:
    """One process on one home, whose Letta is far away."""

    record: Record
    locks: Locks
    letta: Letta
    far: Far
    breaker: Breaker
    caller: str
    toolbox: Any = field(default_factory=NoTools)

    def handle(self, *_: object) -> str:
        """The model's handle, whoever asks."""
        return self.far.model

    def cost(self, *_: object) -> float | None:
        """Nothing is known of prices."""
        return None

    def of(self, client: str = "") -> Constellation:
        """The constellation of the home's own caller."""
        who = Caller(id=self.caller, client=client)
        models: Any = self
        return Constellation(who, load_roster(), self.letta, self.record, self.locks, models, self.toolbox)


@asynccontextmanager
async def side_of(
    home: Path, far: Far, address: str, *, patience: Patience = QUICK, conversations: bool = True
) -> AsyncGenerator[Side]:
    """A process on that home which reaches the Letta by that address, a proxy's."""
    where = open_home(home)
    async with AsyncExitStack() as stack:
        record = await stack.enter_async_context(open_record(where.path))
        breaker = Breaker("the Letta server")
        http = await stack.enter_async_context(BreakingClient(breaker, f"{address}/v1/health/"))
        client = AsyncLetta(base_url=address, api_key=far.key, max_retries=0, http_client=http)
        able = Abilities("", conversations=conversations)
        letta = Letta(client, kind="server", name="far", embedding=far.embedding, abilities=able, patience=patience)
        yield Side(record, Locks(where.locks), letta, far, breaker, f"local:{home}")


@contextmanager
def served_letta(home: Path, scripted: ScriptedModel) -> Iterator[Far]:
    """An `atlas-mcp letta` on that home, whose model is the scripted one."""
    model = {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": scripted.url, "OPENAI_API_KEY": "k"}
    command = [sys.executable, "-m", "atlas_mcp", "letta", "--port", "0"]
    environment = {**os.environ, **model, "ATLAS_HOME": str(home)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        address = next(m[0] for line in process.stderr if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        key = (home / "keys" / "letta").read_text().strip()
        far = Far("served", address, key, scripted, "openai/scripted-1")
        try:
            _warm(far)
            yield far
        finally:
            process.terminate()
            process.communicate()


def _warm(far: Far) -> None:
    """Take a turn: the first one imports what takes its time."""
    with LettaClient(base_url=far.url, api_key=far.key, max_retries=0) as client:
        agent = client.agents.create(name="first", model=far.model)
        client.agents.messages.create(agent.id, messages=[{"role": "user", "content": "hello"}])


def real_far(letta: RealLetta) -> Far:
    """The real server."""
    return Far("real", letta.url, "unused", letta.scripted, letta.model, letta.embedding)


def _text(message: Any) -> str:
    content = message.content if hasattr(message, "content") else ""
    return content if isinstance(content, str) else "".join(getattr(part, "text", "") for part in content or [])


def _heartbeat(message: Any) -> bool:
    """Whether it is one of those that Letta itself writes, as JSON, in the user's name."""
    return _text(message).startswith("{")
