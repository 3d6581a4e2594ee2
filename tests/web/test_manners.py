"""Sites are asked politely: by their rules, a few at a time, and not twice for the same."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from sqlalchemy import func, select, update

from atlas_mcp import __version__
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.web import manners
from atlas_mcp.reach.web.flights import Flights
from atlas_mcp.reach.web.freshness import LEAST, MOST, UNSAID, fresh_until
from atlas_mcp.reach.web.page import Page
from atlas_mcp.reach.web.pages import PAGES, Pages
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.reach_tables import page as table
from atlas_mcp.store.record import Record, open_record
from tests.postgres import session_postgres
from tests.web.conftest import Agent
from tests.web.site import PUBLIC, Asked, Reply, Site

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def rules(site: Site, host: str, text: str = "", *, reply: Reply | None = None) -> str:
    """A site of that name with these rules and a page; its address."""
    site.names[host] = [[PUBLIC]]
    site.on("/robots.txt", reply or Reply(body=text.encode(), type="text/plain"), host=host)
    site.on("/page", Reply(body=b"<p>A page.</p>"), host=host)
    site.on("/private/page", Reply(body=b"<p>Another.</p>"), host=host)
    return f"http://{host}"


async def test_a_page_that_the_sites_rules_close_is_not_asked_for(agent: Agent, site: Site) -> None:
    at = rules(site, "closed.test", "User-agent: *\nDisallow: /private/\n\nUser-agent: other\nDisallow: /\n")
    assert (await agent.fetch(f"{at}/page")).text == "A page."
    with pytest.raises(ToolFailed, match=r"is closed to programs by its site's rules \(robots.txt\)"):
        await agent.fetch(f"{at}/private/page")
    assert site.paths("closed.test") == ["/page"]
    assert [a.path for a in site.asked if a.host == "closed.test"].count("/robots.txt") == 1


async def test_rules_may_name_us_and_we_say_who_we_are(agent: Agent, site: Site) -> None:
    at = rules(site, "named.test", "User-agent: *\nAllow: /\n\nUser-agent: ATLAS-MCP\nDisallow: /page\n")
    with pytest.raises(ToolFailed, match="closed to programs"):
        await agent.fetch(f"{at}/page")
    [asked] = [a for a in site.asked if a.host == "named.test"]
    assert asked.headers["user-agent"].startswith(f"ATLAS-MCP/{__version__} (")
    assert not {"cookie", "authorization", "referer"} & asked.headers.keys()


@pytest.mark.parametrize(("status", "open"), [(404, True), (403, True), (500, False), (503, False), (429, False)])
async def test_a_site_without_rules_is_open_and_one_that_cannot_say_is_closed(
    agent: Agent, site: Site, status: int, *, open: bool
) -> None:
    at = rules(site, f"rules{status}.test", reply=Reply(status))
    if open:
        assert (await agent.fetch(f"{at}/page")).text == "A page."
    else:
        with pytest.raises(ToolFailed, match=rf"robots.txt\) cannot be had .*{status}"):
            await agent.fetch(f"{at}/page")
        assert site.paths(f"rules{status}.test") == []


async def test_rules_beyond_their_limit_are_read_as_far_as_it(agent: Agent, site: Site) -> None:
    text = "User-agent: *\nDisallow: /private/\n" + "# and more\n" * 200_000
    at = rules(site, "long.test", text)
    with pytest.raises(ToolFailed, match="closed to programs"):
        await agent.fetch(f"{at}/private/page")


async def test_the_rules_of_where_a_redirect_leads_count_too(agent: Agent, site: Site) -> None:
    rules(site, "target.test", "User-agent: *\nDisallow: /page\n")
    at = rules(site, "leading.test", "")
    site.on("/go", Reply(302, {"Location": "http://target.test/page"}), host="leading.test")
    with pytest.raises(ToolFailed, match=r"http://target.test/page is closed to programs"):
        await agent.fetch(f"{at}/go")
    assert site.paths("target.test") == []


async def test_a_site_is_asked_for_a_few_pages_at_a_time(agent: Agent, site: Site) -> None:
    waiting = anyio.Event()
    arrived = 0

    async def when_told():
        nonlocal arrived
        arrived += 1
        if arrived == manners.AT_ONCE:
            waiting.set()
        await waiting.wait()
        yield b"<p>Here.</p>"

    for n in range(20):
        site.on(f"/many{n}", Reply(body=when_told))
    site.most_at_once = 0
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(agent.fetch, f"{site.here}/many{n}")
    assert site.most_at_once == manners.AT_ONCE


async def test_a_site_that_wants_time_between_two_requests_gets_it_within_bounds(
    agent: Agent, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    at = rules(site, "slow.test", "User-agent: *\nCrawl-delay: 3600\n")
    monkeypatch.setattr(manners, "time", SimpleNamespace(monotonic=lambda: 1_000_000.0))
    monkeypatch.setattr(manners.anyio, "sleep", sleep)
    for n in range(4):
        site.on(f"/no{n}", Reply(body=b"<p>One of them.</p>"), host="slow.test")
    for n in range(3):
        await agent.fetch(f"{at}/no{n}")
    assert slept == [0, manners.LONGEST_DELAY, 2 * manners.LONGEST_DELAY]
    with pytest.raises(ToolFailed, match=r"slow\.test wants 10 s between two pages, and others wait"):
        await agent.fetch(f"{at}/no3")


async def test_a_page_is_asked_for_again_only_when_its_time_is_over_and_then_only_if_it_changed(
    agent: Agent, site: Site, record: Record
) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"v1"':
            assert asked.headers["if-modified-since"] == "Fri, 01 May 2026 10:00:00 GMT"
            return Reply(304, {"Cache-Control": "max-age=900"})
        tag = {"ETag": '"v1"', "Last-Modified": "Fri, 01 May 2026 10:00:00 GMT", "Cache-Control": "max-age=600"}
        return Reply(headers=tag, body=b"<p>The first state.</p>")

    site.on("/state", answer)
    address = f"{site.here}/state"
    first = await agent.fetch(address)
    assert await agent.fetch(f"{address}#part") == first
    assert site.paths().count("/state") == 1
    await _overdue(record, agent)
    assert await agent.fetch(address) == first
    assert await agent.fetch(address) == first
    assert site.paths().count("/state") == 2
    await _overdue(record, agent)
    site.on("/state", Reply(body=b"<p>The second state.</p>"))
    assert (await agent.fetch(address)).text == "The second state."
    assert len(agent.found) == 5


async def test_no_caller_is_given_what_another_one_fetched(agent: Agent, site: Site) -> None:
    site.on("/each", Reply(body=b"<p>For each.</p>"))
    other = Agent(agent.web)
    await agent.fetch(f"{site.here}/each")
    await other.fetch(f"{site.here}/each")
    assert site.paths().count("/each") == 2


async def test_many_who_want_one_page_at_once_ask_for_it_once(agent: Agent, site: Site) -> None:
    go = anyio.Event()

    async def held():
        await go.wait()
        yield b"<p>For all.</p>"

    site.on("/one", Reply(body=held))
    texts: list[str] = []

    async def one() -> None:
        texts.append((await agent.fetch(f"{site.here}/one")).text)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert texts == ["For all."] * 10
    assert site.paths().count("/one") == 1


async def test_one_who_goes_away_takes_nobody_along() -> None:
    flights = Flights[str]()
    begun: list[int] = []
    go = anyio.Event()

    async def get() -> str:
        begun.append(len(begun))
        if len(begun) == 1:
            await anyio.sleep_forever()
        await go.wait()
        return "got"

    got: list[str] = []

    async def want() -> None:
        got.append(await flights.share("key", get))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as first:
                async with anyio.create_task_group() as leading:
                    leading.start_soon(want)
                    await anyio.wait_all_tasks_blocked()
                    tasks.start_soon(want)
                    tasks.start_soon(want)
                    await anyio.wait_all_tasks_blocked()
                    first.cancel()
            await anyio.wait_all_tasks_blocked()
            go.set()
    assert got == ["got", "got"]
    assert begun == [0, 1]


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_record(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Record]:
    database = None if request.param == "sqlite" else Postgres(session_postgres().new_database())
    async with open_record(tmp_path, database) as opened:
        yield opened


async def test_a_caller_keeps_the_newest_pages_and_old_ones_go(any_record: Record) -> None:
    me, gone = Caller(id="key:reader"), Caller(id="key:gone")
    long_ago = datetime.now(UTC) - timedelta(days=9)
    pages = Pages(any_record)
    pages._swept = True
    await pages.keep(gone, "http://old.test/", _page("http://old.test/"), long_ago, None, None)
    for n in range(PAGES + 3):
        address = f"http://x.test/{n}"
        await pages.keep(me, address, _page(address), datetime.now(UTC) + MOST, None, None)
    assert await pages.count(me) == PAGES
    assert await pages.find(me, "http://x.test/2") is None
    assert await pages.find(me, f"http://x.test/{PAGES + 2}") is not None
    fresh = Pages(any_record)
    await fresh.keep(me, "http://x.test/new", _page("http://x.test/new"), datetime.now(UTC) + MOST, '"v1"', None)
    assert await fresh.count(gone) == 0
    now = datetime.now(UTC)
    await fresh.renew(me, "http://x.test/new", now - timedelta(seconds=1))
    kept = await fresh.find(me, "http://x.test/new")
    assert kept is not None
    assert (kept.page, kept.fresh, kept.conditions) == (_page("http://x.test/new"), False, {"If-None-Match": '"v1"'})


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        ({}, UNSAID),
        ({"cache-control": "public, max-age=7200"}, timedelta(hours=2)),
        ({"cache-control": "max-age=7200", "age": "3600"}, timedelta(hours=1)),
        ({"cache-control": "max-age=0"}, LEAST),
        ({"cache-control": "no-store"}, LEAST),
        ({"cache-control": "no-cache, max-age=9000"}, LEAST),
        ({"cache-control": "max-age=99999999999999"}, MOST),
        ({"expires": "Fri, 01 May 2026 15:00:00 GMT"}, timedelta(hours=3)),
        ({"expires": "0"}, LEAST),
        ({"expires": "Fri, 01 May 2026 15:00:00"}, LEAST),
        ({"expires": "Fri, 01 May 2099 15:00:00 GMT"}, MOST),
    ],
)
def test_a_page_stays_fresh_for_as_long_as_its_server_says_within_bounds(
    headers: dict[str, str], span: timedelta
) -> None:
    assert fresh_until(headers, NOW) - NOW == span


async def test_how_the_web_is_can_be_seen_and_no_address_with_it(agent: Agent, site: Site) -> None:
    site.on("/seen", Reply(body=b"<p>Seen.</p>"))
    await agent.fetch(f"{site.here}/seen")
    with pytest.raises(ToolFailed):
        await agent.fetch("http://10.0.0.1/secret-page")
    room = agent.web.room("web")
    assert (room.name, room.health) == ("web", "ok")
    assert re.search(r"pages given [1-9]\d*, asked for in vain [1-9]", room.text)
    assert "Private hosts that are allowed, for who owns this home: 1." in room.text
    assert "secret-page" not in room.text


def _page(address: str) -> Page:
    return Page(address=address, kind="text", text="x")


async def _overdue(record: Record, agent: Agent) -> None:
    """Let the time of all pages of that caller be over."""
    mine = table.c.caller == agent.caller
    async with record.write(of=agent.caller) as db:
        assert (await db.execute(select(func.count()).select_from(table).where(mine))).scalar_one()
        await db.execute(update(table).where(mine).values(expires_at=datetime(2026, 1, 1, tzinfo=UTC)))
