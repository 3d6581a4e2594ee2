"""How services are asked: waits, repetitions, redirects, bounds, and what is told of what goes wrong."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.errors import LimitReached, ToolFailed
from atlas_mcp.reach.connectors import http
from atlas_mcp.reach.connectors.http import About, Request, Service
from tests.connectors.loopback import Call, Loopback, Reply, loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
KEY = "key-of-theirs-12345"
STEPS = {401: "Check THE_KEY.", 403: "Add it."}


class Asked:
    """A service, its server, and for how long it was waited."""

    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.waits: list[float] = []
        self.service = Service(About("Thing", server.url, "ATLAS_THING_URL", STEPS, (KEY,)), pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.service._closed.clear()  # time passes

    async def get(self, path: str = "/a", **more: object) -> dict[str, object]:
        headers = {"authorization": f"Bearer {KEY}"}
        return await self.service.read(Request("GET", path, headers=headers, **more))  # pyright: ignore[reportArgumentType]


@asynccontextmanager
async def asked() -> AsyncIterator[Asked]:
    async with loopback() as server:
        thing = Asked(server)
        try:
            yield thing
        finally:
            await thing.service.aclose()


async def failure(thing: Asked, **more: object) -> ToolFailed:
    with anyio.fail_after(20), pytest.raises(ToolFailed) as raised:
        await thing.get(**more)  # pyright: ignore[reportArgumentType]
    assert KEY not in str(raised.value)
    return raised.value


async def test_an_answer_is_given_as_it_came():
    async with asked() as thing:
        thing.server.answers(lambda call: Reply({"path": call.path, "query": call.query}))
        assert await thing.get("/a/b%2Fc", params={"q": "x y&z"}) == {"path": "/a/b%2Fc", "query": {"q": "x y&z"}}
        assert thing.service.room("thing").health == "ok"


async def test_a_space_in_a_query_is_sent_as_one():
    async with asked() as thing:
        raw: list[bytes] = []

        async def app(scope: dict[str, object], receive: object, send: object) -> None:
            raw.append(scope["query_string"])  # pyright: ignore[reportArgumentType]
            await Loopback.app(thing.server, scope, receive, send)

        thing.server.app = app  # pyright: ignore[reportAttributeAccessIssue]
        thing.server.answers(lambda _: Reply({}))
        await thing.get(params={"$search": '"a b"'})
        assert raw == [b"$search=%22a%20b%22"]


async def test_a_short_wait_that_is_asked_for_is_waited():
    async with asked() as thing:
        thing.server.now = [Reply({}, 429, {"retry-after": "3"})]
        thing.server.answers(lambda _: Reply({"ok": True}))
        assert await thing.get() == {"ok": True}
        assert len(thing.waits) == 1
        assert 2 < thing.waits[0] < 4


async def test_a_wait_may_be_told_as_a_date():
    async with asked() as thing:
        thing.server.now = [Reply({}, 503, {"retry-after": formatdate(time.time() + 5, usegmt=True)})]
        thing.server.answers(lambda _: Reply({"ok": True}))
        assert await thing.get() == {"ok": True}
        assert 3 < thing.waits[0] < 6


async def test_a_long_wait_is_told_and_the_service_is_left_alone_until_then():
    async with asked() as thing:
        thing.server.now = [Reply({}, 429, {"retry-after": "600"})]
        with pytest.raises(LimitReached) as first:
            await thing.get()
        assert 595 < first.value.retry_after <= 600
        assert "Thing takes no more calls until" in str(first.value)
        with pytest.raises(LimitReached):
            await thing.get()
        assert len(thing.server.calls) == 1, "it was asked again though it wanted to be left alone"
        assert thing.waits == []
        assert thing.service.room("thing").health == "warning"


async def test_a_limit_without_a_time_is_one_of_a_minute():
    async with asked() as thing:
        thing.server.now = [Reply({}, 429)]
        with pytest.raises(LimitReached) as raised:
            await thing.get()
        assert 55 < raised.value.retry_after <= 60


async def test_limits_of_one_bucket_leave_the_others_open():
    async with asked() as thing:
        thing.server.now = [Reply({}, 429, {"retry-after": "600"})]
        with pytest.raises(LimitReached):
            await thing.get(bucket="search")
        thing.server.answers(lambda _: Reply({"ok": True}))
        assert await thing.get(bucket="core") == {"ok": True}


async def test_where_the_last_call_is_used_up_the_next_is_not_sent():
    async with asked() as thing:
        used_up = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 900)}
        thing.server.answers(lambda _: Reply({"ok": True}, headers=used_up))
        assert await thing.get() == {"ok": True}
        with pytest.raises(LimitReached):
            await thing.get()
        assert len(thing.server.calls) == 1


async def test_when_calls_are_left_again_is_told_by_the_services_own_clock():
    async with asked() as thing:
        theirs = time.time() - 3_000  # a clock that is far behind ours
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(theirs) + 120)}
        thing.server.now = [Reply({}, 403, {**headers, "date": formatdate(theirs, usegmt=True)})]
        with pytest.raises(LimitReached) as raised:
            await thing.get()
        assert 110 < raised.value.retry_after <= 121


async def test_a_service_that_asks_again_and_again_to_wait_is_given_up():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply({}, 429, {"retry-after": "1"}))
        with pytest.raises(LimitReached):
            await thing.get()
        assert len(thing.server.calls) == http.TRIES


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again_with_pauses_that_grow(status: int):
    async with asked() as thing:
        thing.server.now = [Reply({"message": "oh"}, status), Reply({"message": "oh"}, status)]
        thing.server.answers(lambda _: Reply({"ok": True}))
        assert await thing.get() == {"ok": True}
        assert 0.5 <= thing.waits[0] <= 1.0 <= thing.waits[1] <= 2.0


async def test_a_failure_that_stays_is_told_with_the_services_words():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply({"error": {"message": f"out of order, {KEY}"}}, 500))
        error = await failure(thing)
        assert str(error) == "Thing answered with status 500: out of order, [redacted]."
        assert len(thing.server.calls) == http.TRIES


async def test_what_may_have_been_done_is_not_repeated_and_the_agent_is_told():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply({}, 502))
        error = await failure(thing, repeat=False, doubtful="Look there first.")
        assert str(error) == "Thing answered with status 502. Look there first."
        assert len(thing.server.calls) == 1


async def test_what_the_service_refused_to_take_is_repeated_even_if_it_changes_something():
    async with asked() as thing:
        thing.server.now = [Reply({}, 429, {"retry-after": "1"})]
        thing.server.answers(lambda _: Reply({"ok": True}))
        assert await thing.get(repeat=False) == {"ok": True}


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply({"message": "bad key"}, 401), "Thing refused it with status 401: bad key. Check THE_KEY."),
        (Reply({"message": "no"}, 403), "Thing refused it with status 403: no. It takes the permission read. Add it."),
        (Reply({"message": "no"}, 404), "Thing has no such page: no."),
        (Reply({"detail": {"error": "too long"}}, 422), "Thing refused it with status 422: too long."),
        (Reply(b"<html>", 400, {"content-type": "text/html"}), "Thing refused it with status 400."),
        (Reply(b""), "Thing answered with nothing. Check ATLAS_THING_URL."),
        (Reply(b"<html>"), "Thing answered with something else than an object of JSON. Check ATLAS_THING_URL."),
        (Reply(b"[" * 100_000), "Thing answered with something else than an object of JSON. Check ATLAS_THING_URL."),
        (Reply([1]), "Thing answered with something else than an object of JSON. Check ATLAS_THING_URL."),
    ],
)
async def test_what_goes_wrong_names_what_to_mend(reply: Reply, told: str):
    async with asked() as thing:
        thing.server.answers(lambda _: reply)
        assert str(await failure(thing, needs="read", missing="such page")) == told


async def test_a_key_goes_to_the_service_only_and_redirects_elsewhere_are_not_followed():
    async with asked() as thing, loopback() as other:
        thing.server.answers(lambda _: Reply({}, 302, {"location": f"{other.url}/a"}))
        assert "a redirect that is not followed" in str(await failure(thing))
        assert other.calls == []


async def test_a_redirect_within_the_service_is_followed():
    async with asked() as thing:
        thing.server.now = [Reply({}, 301, {"location": "/b?c=1"})]
        thing.server.answers(lambda call: Reply({"path": call.path, "query": call.query}))
        assert await thing.get(params={"q": "x"}) == {"path": "/b", "query": {"c": "1"}}


async def test_redirects_without_an_end_are_given_up():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply({}, 302, {"location": "/a"}))
        assert "a redirect that is not followed" in str(await failure(thing))
        assert len(thing.server.calls) < 10


async def test_where_it_is_allowed_one_redirect_elsewhere_is_followed_without_the_key():
    async with asked() as thing, loopback() as other:
        thing.server.answers(lambda _: Reply({}, 302, {"location": f"{other.url}/file"}))
        other.answers(lambda _: Reply({"ok": True}))
        assert await thing.get(elsewhere=True) == {"ok": True}
        assert "authorization" not in other.calls[0].headers
        other.answers(lambda _: Reply({}, 302, {"location": f"{thing.server.url}/a"}))
        assert "a redirect that is not followed" in str(await failure(thing, elsewhere=True))


async def test_a_flood_is_cut_off():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply(b"x" * 3_000_000))
        assert str(await failure(thing, most_bytes=10_000)).startswith("Thing answered with more than 10,000 bytes.")


async def test_a_service_that_hangs_is_given_up():
    async def hang(_: Call) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError

    async with asked() as thing:
        thing.server.answers(hang)
        error = await failure(thing, seconds=0.3, doubtful="Look there first.")
        assert str(error) == "Thing did not answer within 0.3 s. Look there first."


async def test_a_service_that_is_not_there_is_told():
    async with asked() as thing:
        thing.service = Service(About("Thing", "http://127.0.0.1:9", "ATLAS_THING_URL", {}), pause=thing._pause)
        error = await failure(thing, repeat=False)
        assert "Thing cannot be reached" in str(error)
        assert "ATLAS_THING_URL may be wrong" in str(error)
        assert len(thing.waits) == http.TRIES - 1, "what was never sent may be sent again"


async def test_a_call_can_be_cancelled_and_the_service_be_asked_again():
    async with asked() as thing:
        came = anyio.Event()

        async def hang(_: Call) -> Reply:
            came.set()
            await anyio.sleep_forever()
            raise AssertionError

        thing.server.now = [hang]
        thing.server.answers(lambda _: Reply({"ok": True}))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(thing.get)
                await came.wait()
                tasks.cancel_scope.cancel()
            assert await thing.get() == {"ok": True}


async def test_cookies_of_one_call_are_not_sent_with_the_next():
    async with asked() as thing:
        thing.server.answers(lambda _: Reply({}, headers={"set-cookie": "who=ada"}))
        await thing.get()
        await thing.get()
        assert "cookie" not in thing.server.calls[1].headers


async def test_half_a_character_does_not_keep_a_call_from_being_made():
    async with asked() as thing:
        thing.server.answers(lambda call: Reply({"came": call.content.decode()}))
        assert await thing.get(params={"q": "a\ud800b"}, json={"text": "a\ud800b"})
