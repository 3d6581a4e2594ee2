"""A whole house, open: it samples itself, raises alerts, shows them and sends them, and is in nobody's way."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from sqlalchemy import func, insert, select

from atlas_mcp import _health
from atlas_mcp.atlas import open_atlas
from atlas_mcp.errors import ConfigurationError, StoreUnavailable
from atlas_mcp.model.task import TeamTask
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from atlas_mcp.store.quality_tables import sample
from atlas_mcp.store.record import Record
from atlas_mcp.watch.alerts import rows
from atlas_mcp.watch.alerts.looking import Lookout
from atlas_mcp.watch.alerts.rules import Finding, Thresholds
from atlas_mcp.watch.health import MEANING, Sampler
from atlas_mcp.watch.notes import MetricsNote, read_note, taken_by
from atlas_mcp.watch.turn_figures import quantile
from tests.health.conftest import NOON, SECRET, Clock, Receiver, add_task, add_turns
from tests.scripted_model import ScriptedModel

pytestmark = pytest.mark.anyio
SECONDS = 200


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The house is watched without the pauses that it makes otherwise."""
    monkeypatch.setattr(_health, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(_health, "LOOK_SECONDS", 0.05)


def sampler(record: Record, clock: Clock, **gauges: float) -> Sampler:
    return Sampler(record, "one", lambda: gauges, now=clock.now, steady=clock.seconds)


async def count(record: Record) -> int:
    async with record.read() as db:
        return (await db.execute(select(func.count()).select_from(sample))).scalar_one()


async def test_a_sample_says_how_the_last_hour_was_and_what_waits(record: Record, clock: Clock) -> None:
    for number in range(1, 21):
        await add_turns(record, ["done"], seconds=float(number), run_id=f"r{number}")
    await add_turns(record, ["failed"] * 5 + ["started"], at=NOON + timedelta(seconds=1))
    await add_turns(record, ["failed"] * 50, at=NOON - timedelta(hours=2))
    await add_task(record, "waits", status="queued")
    await add_task(record, "left", status="working", executor=None)
    await add_task(record, "at work", executor="somebody")
    await add_task(record, "over", status="completed")
    clock.pass_by(60)
    figures = await sampler(record, clock, active_agents=3.0).sample()
    assert figures["error_rate"] == 0.2
    assert (figures["turn_seconds_median"], figures["turn_seconds_p95"]) == (10.0, 19.0)
    assert (figures["runs_waiting"], figures["runs_at_work"], figures["active_agents"]) == (2.0, 1.0, 3.0)
    async with record.read() as db:
        kept = {row.name: row.value for row in await db.execute(select(sample))}
    assert kept == figures


async def test_a_sample_is_told_to_mlflow_under_a_key_of_its_own(record: Record, clock: Clock) -> None:
    lines: list[str] = []
    own = sampler(record, clock, active_agents=2.0)
    with taken_by(lines.append):
        first = await own.sample()
        clock.pass_by(60)
        await own.sample()
    told = [read_note(json.loads(line)) for line in lines]
    assert [note.kind for note in told] == ["metrics", "metrics"]
    assert isinstance(told[0], MetricsNote)
    assert (told[0].series, told[0].values, told[0].at_ms) == ("health", first, int(NOON.timestamp() * 1000))
    assert len({note.key for note in told}) == 2


async def test_of_an_hour_without_turns_nothing_is_made_up(record: Record, clock: Clock) -> None:
    figures = await sampler(record, clock).sample()
    assert set(figures) == {"processor_share", "runs_waiting", "runs_at_work"}


async def test_samples_are_kept_for_30_days_and_a_clock_that_jumps_deletes_none(record: Record, clock: Clock) -> None:
    old = [{"at": NOON - timedelta(days=days), "process": "x", "name": "n", "value": 1.0} for days in (29, 31)]
    async with record.write() as db:
        await db.execute(insert(sample), old)
    await rows.settle(record, [Finding("store", "redis", "gone", 1.0, 0.0)], {"store"}, NOON - timedelta(days=300))
    await rows.settle(record, [], {"store"}, NOON - timedelta(days=299))
    own = sampler(record, clock)
    clock.jump(timedelta(days=400))
    await own.sample()
    clock.pass_by(7_200)
    await own.sample()
    clock.jump(-timedelta(days=800))
    await own.sample()
    assert await count(record) == 2 + 3 * 3
    clock.jump(timedelta(days=400))
    await sampler(record, clock).sample()
    async with record.read() as db:
        assert len(await rows.raised_since(db, NOON - timedelta(days=365))) == 1
        left = (await db.execute(select(sample.c.at).where(sample.c.process == "x"))).scalars().all()
    assert left == [NOON - timedelta(days=29)]


async def test_a_record_that_is_gone_is_told_in_the_log_at_once_and_raised_when_it_is_back(
    record: Record, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Any:
        raise StoreUnavailable("the database does not answer.")

    look = Lookout(record, Thresholds(), now=clock.now)
    with monkeypatch.context() as outage:
        outage.setattr(record, "read", gone)
        await look.look()
        clock.pass_by(30)
        await look.look()
    assert caplog.text.count("record is not well: the database does not answer.") == 1
    await look.look()
    async with record.read() as db:
        [kept] = await rows.raised_since(db, NOON)
        messages = await rows.untold(db, clock.wall)
    assert (kept.subject, kept.raised_at, kept.cleared_at) == ("record", NOON, NOON + timedelta(seconds=30))
    assert [one.what for one in messages] == ["raised", "cleared"]
    await look.look()
    async with record.read() as db:
        assert len(await rows.raised_since(db, NOON)) == 1


def test_a_quantile_is_a_value_that_there_is() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.95)] == [1.0, 1.0, 2.0, 4.0]
    assert quantile([], 0.5) is None


async def test_a_task_that_was_too_long_is_in_the_status_of_its_caller_and_at_the_webhook(
    home: Path, receiver: Receiver, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_ALERT_TASK_SECONDS", "0.001")
    monkeypatch.setenv("ATLAS_ALERT_QUALITY", "none")
    monkeypatch.setenv("ATLAS_ALERT_STORES", "false")
    monkeypatch.setenv("ATLAS_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("ATLAS_WEBHOOK_SECRET", SECRET)
    with anyio.fail_after(SECONDS):
        async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as client:
            run = await atlas.run_team_task(atlas.local_caller(), TeamTask(goal="How was the light kept?"))
            [got] = await receiver.messages(1)
            shown = await client.call_tool("get_status", {})
            others = await atlas.status(atlas.access.key_caller())
    assert got.content["data"]["run_id"] == run.run_id
    assert (got.content["data"]["trace_id"] or "").startswith("tr-")
    assert "light" not in str(got.content)
    assert shown.structured_content is not None
    assert [one["run_id"] for one in shown.structured_content["alerts"]] == [run.run_id]
    assert others.alerts == []


async def test_two_houses_on_one_home_raise_an_alert_once_and_send_it_once(
    home: Path, receiver: Receiver, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("ATLAS_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(_health, "store_rooms", _unwell)
    with anyio.fail_after(SECONDS):
        async with open_atlas(load_settings()) as one, open_atlas(load_settings()) as other:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.chat, one.local_caller(), "librarian", "Good day")
                tasks.start_soon(other.chat, other.local_caller(), "librarian", "Good day")
            await receiver.messages(1)
            while not sent_in(home):  # noqa: ASYNC110 - what was not noted yet when a house ends is told again
                await anyio.sleep(0.02)
            for atlas in (one, other):  # another look of each, by force: what it finds stands already
                rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
                assert (await Lookout(rooms.record, Thresholds()).look(_unwell)).raised == []
        async with open_atlas(load_settings()) as third:  # and the next takes over, and says nothing twice
            await third.chat(third.local_caller(), "librarian", "Good day")
            status = await third.status(third.local_caller())
    assert [alert.subject for alert in status.alerts] == ["redis"]
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        [(alerts, sent)] = record.execute("SELECT count(*), max(sent) FROM alert")
    assert (alerts, json.loads(sent), len(receiver.got)) == (1, ["raised"], 1)


def sent_in(home: Path) -> list[str]:
    """What the record has of messages on its alerts."""
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return [what for (sent,) in record.execute("SELECT sent FROM alert") for what in json.loads(sent or "[]")]


async def _unwell(*_: object) -> list[Any]:
    from atlas_mcp.model.status import Room

    return [Room(name="redis", health="warning", text="It is gone.")]


async def test_a_house_ends_quickly_while_its_webhook_hangs(
    home: Path, receiver: Receiver, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("ATLAS_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(_health, "store_rooms", _unwell)
    receiver.answer = None
    with anyio.fail_after(SECONDS):
        async with open_atlas(load_settings()) as atlas:
            await atlas.chat(atlas.local_caller(), "librarian", "Good day")
            await receiver.attempts(1)
            assert (await atlas.chat(atlas.local_caller(), "librarian", "Still here?")).status == "completed"
            leaving = anyio.current_time()
        assert anyio.current_time() - leaving < 20, "it waited for the webhook"
        receiver.answer = 200
        async with open_atlas(load_settings()) as atlas:
            await atlas.chat(atlas.local_caller(), "librarian", "Good day")
            [got] = await receiver.messages(1)
    assert got.content["data"]["subject"] == "redis"


async def test_an_open_house_samples_what_it_is_and_what_its_provider_leaves_it(
    home: Path, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    scripted_model.headers = {"x-ratelimit-remaining-requests": "4999", "x-ratelimit-remaining-tokens": "39000"}
    with anyio.fail_after(SECONDS):
        async with open_atlas(load_settings()) as atlas:
            rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
            own = Sampler(rooms.record, "me", _health.Gauges(rooms).read, now=lambda: datetime.now(UTC))
            scripted_model.hold()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(atlas.chat, atlas.local_caller(), "librarian", "Good day")
                await scripted_model.arrived(1, SECONDS)
                assert (await own.sample())["active_agents"] == 1
                scripted_model.release()
            await atlas._keeper.gate.empty()  # pyright: ignore[reportPrivateUsage]  # its turn is written down by then
            figures = await own.sample()
    assert figures["provider_openai_requests_left"] == 4999
    assert figures["provider_openai_tokens_left"] == 39000
    assert 10 << 20 < figures["memory_bytes"] < 4 << 30
    assert figures["database_connections"] >= 1
    assert figures["active_agents"] == 0
    assert figures["turn_seconds_median"] > 0
    assert {name for name in figures if not name.startswith("provider_")} <= set(MEANING)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATLAS_ALERT_TASK_SECONDS", "0"),
        ("ATLAS_ALERT_QUALITY", "6"),
        ("ATLAS_ALERT_ERROR_RATE", "many"),
        ("ATLAS_ALERT_BUDGET", "1.5"),
        ("ATLAS_WEBHOOK_URL", "ftp://somewhere"),
    ],
)
async def test_a_threshold_that_makes_no_sense_is_refused_at_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        async with open_atlas(load_settings()):
            pass


def test_none_switches_a_rule_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_ALERT_TASK_SECONDS", "none")
    assert load_settings().alert_task_seconds is None
    assert load_settings().alert_task_usd == 5.0
