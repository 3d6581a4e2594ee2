"""Keys: made, listed and revoked on the command line, kept hashed, and known to every server on the record at once."""

from __future__ import annotations

import re
import subprocess
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest

from atlas_mcp.access.keys import USED_EVERY, Keys, hashed
from atlas_mcp.access.ring import KEPT_SECONDS, KeyRing
from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.access import Limits
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.watch.payload import clean
from tests.access.serving import ALL
from tests.homes import contents
from tests.postgres import session_postgres
from tests.server.doors import COMMAND, MODERN, call, http_server, over_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds, as a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Record, Record]]:
    """One record, as two processes have it open."""
    where = Postgres(session_postgres().new_database()) if request.param == "postgresql" else None
    async with open_record(tmp_path, where) as one, open_record(tmp_path, where) as other:
        yield one, other


def ring_on(record: Record, clock: Clock | None = None) -> KeyRing:
    async def opened() -> Record:
        return record

    return KeyRing(opened, clock or Clock())


async def test_a_key_opens_what_it_was_made_for_and_nothing_of_its_secret_is_kept(
    records: tuple[Record, Record],
) -> None:
    one, other = records
    limits = Limits(runs=2)
    made = await Keys(one).create("ada", scopes={"read", "chat"}, expires_in=timedelta(days=1), limits=limits)
    assert re.fullmatch(r"atlas_[0-9a-f]{12}_[0-9a-f]{64}", made.token)
    grant = await ring_on(other).grant(made.token)
    assert grant is not None
    assert (grant.caller.id, grant.caller.kind, grant.via) == ("key:ada", "key", made.key.id)
    assert grant.scopes == {"read", "chat"}
    assert grant.limits == limits
    assert grant.expires_at == made.key.expires_at
    secret = made.token.rpartition("_")[2]
    found = await Keys(other).find(made.key.id)
    assert found is not None
    assert found[1] == hashed(secret)
    assert secret not in repr(found) + repr(await Keys(other).list())
    assert secret not in clean(f"Use {made.token}, please.", 500), "nor where somebody writes it into a message"


async def test_what_is_not_the_key_opens_nothing(records: tuple[Record, Record]) -> None:
    made = await Keys(records[0]).create("ada", scopes=ALL)
    other = await Keys(records[0]).create("bob", scopes=ALL)
    ring = ring_on(records[0])
    secret, of_bob = made.token.rpartition("_")[2], other.token.rpartition("_")[2]
    for wrong in (
        "",
        "atlas__",
        made.token[:-1],
        f"{made.token}0",
        made.token.upper(),
        f"atlas_{made.key.id}_{'0' * 64}",
        f"atlas_{made.key.id}_{of_bob}",
        f"atlas_{'0' * 12}_{secret}",
        f"atlas_{made.key.id}_{hashed(secret)}",
        f"{made.token}\n",
    ):
        assert await ring.grant(wrong) is None, wrong
    assert await ring.grant(made.token) is not None


async def test_a_revoked_key_opens_nothing_seconds_later_in_every_process(records: tuple[Record, Record]) -> None:
    one, other = records
    made = await Keys(one).create("ada", scopes=ALL)
    clock = Clock()
    ring = ring_on(other, clock)
    assert await ring.grant(made.token) is not None
    await Keys(one).revoke("ada")
    clock.now += KEPT_SECONDS
    assert await ring.grant(made.token) is None
    assert KEPT_SECONDS <= 5, "what the documentation promises in seconds"
    [listed] = await Keys(one).list()
    assert listed.state() == "revoked"


async def test_an_expired_key_opens_nothing_from_that_moment_on(
    records: tuple[Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await Keys(records[0]).create("ada", scopes=ALL, expires_in=timedelta(hours=1))
    ring = ring_on(records[0])
    end = made.key.expires_at
    assert end is not None

    class Later(datetime):
        at = end - timedelta(microseconds=1)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return cls.at

    monkeypatch.setattr("atlas_mcp.model.access.datetime", Later)
    assert await ring.grant(made.token) is not None
    Later.at = end
    assert await ring.grant(made.token) is None, "and the ring's own clock stood still: nothing was read anew"


async def test_a_key_is_read_once_in_a_while_and_its_use_written_once_a_minute(
    records: tuple[Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("find", "used"):
        real = getattr(Keys, name)

        async def counted(self: Keys, what: object, name: str = name, real: object = real) -> object:
            asked.append(name)
            return await real(self, what)  # type: ignore[operator]

        monkeypatch.setattr(Keys, name, counted)
    monkeypatch.setattr("atlas_mcp.access.ring._WRITE_SECONDS", 60.0)  # nobody is in a hurry to come in here
    made = await Keys(records[0]).create("ada", scopes=ALL)
    clock = Clock()
    ring = ring_on(records[0], clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ring.grant, made.token)
    assert asked.count("used") == 1
    first = (await Keys(records[1]).list())[0].used_at
    assert first is not None
    asked.clear()
    for _ in range(20):
        assert await ring.grant(made.token) is not None
    assert asked == []
    clock.now += KEPT_SECONDS
    await ring.grant(made.token)
    assert asked == ["find"], "it was used a moment ago, and that is written already"
    assert timedelta(seconds=30) <= USED_EVERY <= timedelta(minutes=2)


async def test_what_does_not_fit_is_refused_with_what_would(records: tuple[Record, Record]) -> None:
    keys = Keys(records[0])
    await keys.create("ada", scopes=ALL)
    for name, more, said in (
        ("ada", {}, "active key"),
        ("http", {}, "home's own key"),
        ("a\nb", {}, "not a name"),
        ("", {}, "not a name"),
        ("x", {"speaks_for": "nobody"}, "ada, http"),
        ("x", {"scopes": ()}, "opens nothing"),
        ("x", {"expires_in": timedelta()}, "expired"),
    ):
        with pytest.raises(InvalidInput, match=said):
            await keys.create(name, **{"scopes": ALL, **more})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="no key 'bob'"):
        await keys.revoke("bob")


async def test_a_key_can_be_replaced_and_keeps_its_constellation(records: tuple[Record, Record]) -> None:
    keys, ring = Keys(records[0]), ring_on(records[0])
    first = await keys.create("ada", scopes=ALL)
    second = await keys.create("ada-2", scopes={"read"}, speaks_for="ada")
    of_home = await keys.create("phone", scopes={"read"}, speaks_for="http")
    await keys.revoke(first.key.id)
    again = await keys.create("ada", scopes=ALL)
    grants = [await ring.grant(made.token) for made in (second, again, of_home)]
    assert [grant and grant.caller.id for grant in grants] == ["key:ada", "key:ada", "key:http"]
    assert await ring.grant(first.token) is None


def keys(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command("keys", *arguments)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.timeout(300)  # seven processes, one after the other
async def test_a_running_server_takes_keys_up_and_lets_them_go(home: Path) -> None:
    with http_server("--toolset", "all") as (address, home_key, _):
        made = await anyio.to_thread.run_sync(keys, "create", "ada", "--expires", "90d", "--scope", "read,chat")
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        assert token.startswith("atlas_")
        assert token not in made.stderr
        async with over_http(address, token, "/mcp", MODERN) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "get_status" in names
            assert not names & {"forget", "create_agent"}
            assert (await call(client, "get_status"))["caller"] == "key:ada"
        listed = await anyio.to_thread.run_sync(keys, "list")
        assert "active" in listed.stdout
        assert token not in listed.stdout
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
            async with http.stream("GET", f"{address}/sse") as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == "event: endpoint"
                assert (await anyio.to_thread.run_sync(keys, "revoke", "ada")).returncode == 0
                with anyio.fail_after(60):
                    async for _ in lines:  # the stream of a key that was revoked ends
                        pass
            assert (await http.get(f"{address}/sse")).status_code == 401
            assert (await http.post(f"{address}/mcp", json={})).status_code == 401
        kept = b"".join(content for _, content in contents(home))
        assert token.rpartition("_")[2].encode() not in kept, "the home has the secret nowhere"
        assert home_key.encode() in kept
    log = (await anyio.to_thread.run_sync(command, "audit")).stdout
    assert all(word in log for word in ("keys create", "keys revoke", "ada", "get_status")), log
    assert token not in log
    told = await anyio.to_thread.run_sync(keys, "create", "ada", "--scope", "everything")
    assert told.returncode == 2
    assert "read, chat, write, admin" in told.stderr
