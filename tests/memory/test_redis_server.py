"""The servers that the tests of Redis run against answer alike: the real one where it can be had, and the small one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from atlas_mcp.memory.redis.cache import KEEP_LATER
from tests.redis_server import RunningRedis, running_redis

V1, V2 = "0" * 19 + "1", "0" * 19 + "2"
SAID = [
    (("PING",), True),
    (("GET", "a"), None),
    (("SET", "a", "ä\0\U0001f600"), True),
    (("GET", "a"), "ä\0\U0001f600"),
    (("SET", "gone", "x", "PX", "1"), True),
    (("INCR", "n"), 1),
    (("INCRBY", "n", "4"), 5),
    (("PEXPIRE", "n", "60000"), 1),
    (("PEXPIRE", "never", "60000"), 0),
    (("EVAL", KEEP_LATER, "1", "e", V2, "new", "60000"), 1),
    (("EVAL", KEEP_LATER, "1", "e", V1, "old", "60000"), 0),
    (("EVAL", KEEP_LATER, "1", "e", V2, "again", "60000"), 0),
    (("GET", "e"), f"{V2}new"),
    (("SCAN", "0", "MATCH", "e*", "COUNT", "200"), (0, ["e"])),
    (("PUBLISH", "nobody", "x"), 0),
    (("DEL", "e", "never"), 1),
]


@pytest.fixture(params=["small", "best"])
def server(request: pytest.FixtureRequest) -> Iterator[RunningRedis]:
    with running_redis(small=request.param == "small") as server:
        yield server


def test_each_command_that_atlas_sends_is_answered_as_redis_answers_it(server: RunningRedis) -> None:
    import redis

    with redis.Redis.from_url(server.url, decode_responses=True, protocol=2) as client:
        for command, expected in SAID:
            assert client.execute_command(*command) == expected, command
        assert "run_id" in client.info("server")
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("NO_SUCH_COMMAND")
        with client.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe("bells")
            while client.publish("bells", "ding") == 0:
                pass
            heard = None
            while heard is None:
                heard = channel.get_message(timeout=5)
            assert heard["data"] == "ding"
