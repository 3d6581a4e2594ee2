"""Working memory with a Redis beside the record, and what becomes of it when that is slow, hangs, goes and comes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.memory.redis import link as links
from atlas_mcp.memory.working import Kept, item_of
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.runs.bells import Bells
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import outbox
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from tests.redis_server import RunningRedis, running_redis

pytestmark = pytest.mark.anyio
ANA, BEN = Caller(id="local:ana"), Caller(id="local:ben")
PATIENCE = 120


@pytest.fixture
def redis() -> Iterator[RunningRedis]:
    with running_redis() as server:
        yield server


@asynccontextmanager
async def opened(
    home: Path, url: str, database: Postgres | None = None, *, answers: bool = True
) -> AsyncGenerator[HybridMemory]:
    home.mkdir(exist_ok=True)
    config = StoresConfig(embedder="none", redis_url=SecretStr(url))
    async with (
        open_record(home, database) as record,
        open_memory(record, home, Locks(home / "locks"), config) as memory,
    ):
        with anyio.fail_after(PATIENCE):
            assert memory.redis
            await memory.redis.link.until(answers=answers)
            yield memory


async def told_everything(memory: HybridMemory) -> None:
    """Wait until the Redis has heard all that was committed."""
    while True:
        async with memory.record.read() as db:
            waiting = (await db.execute(select(func.count()).where(outbox.c.topic == "working"))).scalar_one()
        if not waiting:
            return
        await anyio.sleep(0.02)


async def in_redis(memory: HybridMemory, name: str, caller: Caller = ANA) -> Kept | None:
    assert memory.redis
    return await memory.redis.cache.get(item_of(caller.id, "all", "", name))


async def test_what_is_kept_is_in_redis_at_once_and_gone_from_it_at_once(
    home: Path, database: Postgres | None, redis: RunningRedis
) -> None:
    async with opened(home, redis.url, database) as memory:
        working = memory.working(ANA)
        await working.set("plan", {"step": 1})
        kept = await in_redis(memory, "plan")
        assert kept
        assert json.loads(kept.text) == {"step": 1}
        assert await working.get("plan") == {"step": 1}
        assert await memory.working(BEN).get("plan") is None
        await working.increment("count", 3)
        assert (await in_redis(memory, "count") or pytest.fail("not there")).text == "3"
        assert await working.compare_and_set("plan", {"step": 1}, {"step": 2})
        assert await working.get("plan") == {"step": 2}
        assert await working.delete("plan")
        assert await in_redis(memory, "plan") is None
        assert await working.get("plan") is None
        await told_everything(memory)
        assert await working.get("plan") is None
        assert await working.get("count") == 3


async def test_a_change_that_another_made_reaches_redis_from_the_outbox(home: Path, redis: RunningRedis) -> None:
    """As `forget`, a correction and expiry do, and a process that died between its commit and telling Redis."""
    async with opened(home, redis.url) as memory:
        from atlas_mcp.memory.memories import Memories
        from atlas_mcp.memory.working import Working

        working, deaf = memory.working(ANA), Working(ANA, memory.record)
        await working.set("plan", "first")
        await deaf.set("plan", "second")
        await told_everything(memory)
        assert (await in_redis(memory, "plan") or pytest.fail("not there")).text == '"second"'
        item = (await Memories(ANA, memory.record).list(kinds=["working"]))[0]
        await Memories(ANA, memory.record).correct(item.id, '"third"')
        await told_everything(memory)
        assert await working.get("plan") == "third"
        await deaf.delete("plan")
        await told_everything(memory)
        assert await in_redis(memory, "plan") is None
        await working.set("plan", "anew")
        assert await working.get("plan") == "anew"


async def test_of_two_versions_the_later_stays_in_whatever_order_they_come(home: Path, redis: RunningRedis) -> None:
    async with opened(home, redis.url) as memory:
        assert memory.redis
        now, item = datetime.now(UTC), item_of(ANA.id, "all", "", "plan")
        old, new = Kept('"old"', None, now), Kept('"new"', None, now + timedelta(microseconds=1))
        await memory.redis.cache.put(item, new)
        await memory.redis.cache.put(item, old)
        assert await memory.redis.cache.get(item) == new
        await memory.redis.cache.drop(item)
        assert await memory.redis.cache.get(item) is None, "a reader that comes late does not bring back what is gone"
        await memory.redis.cache.put(item, new)
        assert await memory.redis.cache.get(item) is None


async def test_while_redis_is_gone_the_record_answers_and_afterwards_redis_is_right_again(
    home: Path, database: Postgres | None, redis: RunningRedis
) -> None:
    async with opened(home, redis.url, database) as memory:
        assert memory.redis
        working = memory.working(ANA)
        await working.set("plan", "before")
        await working.set("deleted", "before")
        redis.kill()
        assert await working.get("plan") == "before"
        await working.set("plan", "meanwhile")
        assert await working.delete("deleted")
        assert await working.increment("count") == 1
        assert await working.get("plan") == "meanwhile"
        assert not memory.redis.link.answers
        assert memory.redis.link.since
        redis.start()
        await memory.redis.link.until(answers=True)
        await told_everything(memory)
        assert (await in_redis(memory, "plan") or pytest.fail("not there")).text == '"meanwhile"'
        assert await working.get("deleted") is None
        assert await working.get("count") == 1


async def test_a_redis_that_comes_back_with_an_old_snapshot_is_not_believed(home: Path, redis: RunningRedis) -> None:
    async with opened(home, redis.url) as memory:
        assert memory.redis
        working = memory.working(ANA)
        await working.set("plan", "long past")
        await told_everything(memory)
        if redis.kind == "real":
            await memory.redis.link.call(lambda client: client.save())
        await working.set("plan", "now")
        await told_everything(memory)
        redis.kill()
        redis.start()
        for _ in range(3):
            assert await working.get("plan") == "now"
        await memory.redis.link.until(answers=True)
        assert await working.get("plan") == "now"


async def test_a_redis_that_hangs_costs_one_call_its_deadline_and_the_others_nothing(
    home: Path, redis: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home, redis.url) as memory:
        assert memory.redis
        working = memory.working(ANA)
        await working.set("plan", 1)
        monkeypatch.setattr(links, "CALL_SECONDS", 0.5)
        redis.freeze()
        begun = anyio.current_time()
        assert await working.get("plan") == 1
        assert anyio.current_time() - begun >= 0.5, "it was not asked, so nothing was tested"
        assert not memory.redis.link.answers
        for number in range(20):
            await working.set("plan", number)
            assert await working.get("plan") == number
        assert not memory.redis.link.answers
        redis.thaw()
        await memory.redis.link.until(answers=True)
        await told_everything(memory)
        assert await working.get("plan") == 19


async def test_a_reader_that_is_cancelled_leaves_no_answer_to_the_next(home: Path, redis: RunningRedis) -> None:
    async with opened(home, redis.url) as memory:
        assert memory.redis
        working = memory.working(ANA)
        for number in range(30):
            await working.set(f"value {number}", number)
        for number in range(30):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    for other in range(30):
                        tasks.start_soon(working.get, f"value {other}")
                    for _ in range(number):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            assert await working.get(f"value {number}") == number


async def test_a_slow_redis_answers_or_the_record_does(
    home: Path, redis: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slowed(redis.port) as slow, opened(home, f"redis://127.0.0.1:{slow.port}/0") as memory:
        assert memory.redis
        working = memory.working(ANA)
        slow.seconds = 0.05
        await working.set("plan", "slowly")
        assert await working.get("plan") == "slowly"
        assert memory.redis.link.answers
        monkeypatch.setattr(links, "CALL_SECONDS", 0.5)
        slow.seconds = 1
        await working.set("plan", "at last")
        assert await working.get("plan") == "at last"
        assert not memory.redis.link.answers
        slow.seconds = 0
        await memory.redis.link.until(answers=True)
        await told_everything(memory)
        assert await working.get("plan") == "at last"


async def test_a_redis_that_takes_nothing_any_more_is_as_one_that_is_gone(
    home: Path, redis: RunningRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.asyncio import Redis

    async with opened(home, redis.url) as memory, Redis.from_url(redis.url, protocol=2) as admin:
        assert memory.redis
        working = memory.working(ANA)
        await working.set("plan", 1)
        await admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        await working.set("plan", 2)
        assert await working.get("plan") == 2
        link, tried, answered, enough = memory.redis.link, memory.redis.link._ping, list[bool](), anyio.Event()

        async def noted(client: Redis) -> None:
            await tried(client)
            answered.append(link.answers)
            if len(answered) == 2:
                enough.set()

        monkeypatch.setattr(link, "_ping", noted)
        await enough.wait()
        assert not any(answered), "it answers a PING, and is no use"
        assert "read only replica" in link.reason
        await admin.execute_command("REPLICAOF", "NO", "ONE")
        await memory.redis.link.until(answers=True)
        await told_everything(memory)
        assert await working.get("plan") == 2


async def test_without_any_redis_at_the_address_everything_works(home: Path, redis: RunningRedis) -> None:
    redis.kill()
    async with opened(home, redis.url, answers=False) as memory:
        await memory.working(ANA).set("plan", 1)
        assert await memory.working(ANA).get("plan") == 1
        assert await memory.counters(ANA).hit("calls", timedelta(hours=1)) == 1


async def test_counters_count_every_hit_once_and_go_on_in_the_record(home: Path, redis: RunningRedis) -> None:
    hour = timedelta(hours=1)
    async with opened(home, redis.url) as memory, opened(home, redis.url) as other:
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon((memory, other)[number % 2].counters(ANA).hit, "calls", hour)
        assert await memory.counters(ANA).hit("calls", hour) == 41
        assert await memory.counters(BEN).hit("calls", hour) == 1
        assert await memory.working(ANA).names() == [], "what Redis counts is not written to the record"
        redis.kill()
        assert await memory.counters(ANA).hit("calls", hour) == 1
        assert await other.counters(ANA).hit("calls", hour) == 2


async def test_who_waits_for_a_run_hears_what_another_process_does_to_it(home: Path, redis: RunningRedis) -> None:
    async with opened(home, redis.url) as memory, opened(home, redis.url) as other:
        assert memory.redis
        assert other.redis
        here, there = Bells(), Bells()
        for far, near in ((memory.redis.bells, here), (other.redis.bells, there)):
            near.far, far.heard = far.ring, near.ring_here
        for _ in range(2):
            with here.listen("run_a") as rung, here.listen("run_b") as not_rung:
                while not rung.is_set():  # until the other listens, a ring is lost, as the promise says
                    there.ring("run_a")
                    await anyio.sleep(0.02)
                assert not not_rung.is_set()
            redis.kill()
            redis.start()
            await memory.redis.link.until(answers=True)
            await other.redis.link.until(answers=True)


async def test_an_address_that_is_none_is_refused_without_showing_the_password(home: Path) -> None:
    home.mkdir()
    async with open_record(home) as record:
        config = StoresConfig(embedder="none", redis_url=SecretStr("http://user:secret@redis:6379"))
        with pytest.raises(ConfigurationError, match="ATLAS_REDIS_URL") as raised:
            async with open_memory(record, home, Locks(home / "locks"), config):
                pass
        assert "secret" not in str(raised.value)


class Slow:
    """A way to a server on which every answer takes some time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seconds = 0.0


@asynccontextmanager
async def slowed(target: int) -> AsyncGenerator[Slow]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    slow = Slow(listener.extra(anyio.abc.SocketAttribute.local_port))

    async def carry(source: anyio.abc.SocketStream, sink: anyio.abc.SocketStream, *, answers: bool) -> None:
        try:
            async for piece in source:
                if answers:
                    await anyio.sleep(slow.seconds)
                await sink.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            pass
        finally:
            await sink.aclose()

    async def serve(client: anyio.abc.SocketStream) -> None:
        async with client, await anyio.connect_tcp("127.0.0.1", target) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(carry_up, client, server)
            await carry(server, client, answers=True)
            tasks.cancel_scope.cancel()

    async def carry_up(client: anyio.abc.SocketStream, server: anyio.abc.SocketStream) -> None:
        await carry(client, server, answers=False)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield slow
        tasks.cancel_scope.cancel()
