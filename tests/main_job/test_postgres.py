"""The main job on PostgreSQL: servers with homes of their own share the record, the runs and one Letta."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.letta_process import letta_process
from tests.main_job.hosts import DEADLINE, ended, host, until_event
from tests.postgres import RunningPostgres, running_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
OPEN = ("queued", "working")
TEXT = "The lamp was lit at dusk. The keeper trimmed it at midnight. The oil came by boat on Fridays."


@pytest.fixture(scope="module")
def server() -> Iterator[RunningPostgres]:
    """A PostgreSQL that may be stopped."""
    with running_postgres() as running:
        yield running


@pytest.fixture
def environment(server: RunningPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What every server of a test is told: the PostgreSQL and the Letta."""
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "0.6")
    with letta_process(tmp_path / "letta") as letta:
        monkeypatch.delenv("ATLAS_OFFLINE_DELAY")
        yield {
            "ATLAS_DATABASE_URL": server.new_database(),
            "LETTA_BASE_URL": letta.address,
            "LETTA_API_KEY": letta.key,
            "LETTA_MODEL": "atlas/offline",
        }


def row_of(server: RunningPostgres, environment: dict[str, str], run_id: str) -> dict[str, Any]:
    database = environment["ATLAS_DATABASE_URL"].rpartition("/")[2]
    query = f"SELECT row_to_json(run) FROM atlas.run WHERE id = '{run_id}'"
    (row,) = server.execute(query, database)[0]
    return row if isinstance(row, dict) else json.loads(row)


async def test_a_team_task_of_a_killed_server_is_done_by_another_with_a_home_of_its_own(
    server: RunningPostgres, environment: dict[str, str], tmp_path: Path
):
    async with host(tmp_path / "other", "other", **environment) as other:
        await other.call("list_agents")
        async with host(tmp_path / "first", "first", **environment) as first:
            goal = {"goal": "How was the light kept?", "materials": [{"name": "log.txt", "text": TEXT}]}
            run = await first.call("run_team_task", **goal, wait_seconds=0)
            await until_event(first, run["run_id"], "turn_finished", 2)
            first.kill()
        with anyio.fail_after(DEADLINE * 2):
            while (row := row_of(server, environment, run["run_id"]))["status"] in OPEN:  # noqa: ASYNC110
                await anyio.sleep(0.2)
        status = await other.call("get_status")
    assert (row["status"], row["attempts"]) == ("completed", 2)
    assert row["result"]["output"]
    database = environment["ATLAS_DATABASE_URL"].rpartition("/")[2]
    turns = server.execute(f"SELECT key FROM atlas.turn WHERE run_id = '{run['run_id']}' AND status = 'done'", database)
    assert [n for n in Counter(turns).values() if n > 1] == []
    left = server.execute("SELECT count(*) FROM atlas.artifact WHERE passing", database)
    assert left == [(0,)], "no more of where it stood"
    (record,) = [room for room in status["rooms"] if room["name"] == "record"]
    assert record["health"] == "ok"
    assert record["text"].startswith("PostgreSQL 18")


async def test_chats_memory_knowledge_and_groups_work_and_outlive_the_home(environment: dict[str, str], tmp_path: Path):
    async with host(tmp_path / "home", **environment) as one:
        said = await one.call("chat_with_agent", agent="librarian", message="My name is Ada.")
        assert said["status"] == "completed"
        written = await one.call("update_agent_memory", agent="librarian", label="human", value="Her name is Ada.")
        await one.call("undo_memory", agent="librarian", label="human", revision=written["revision"] - 1)
        shared = await one.call("share_knowledge", name="log.txt", text=TEXT)
        assert shared["name"] == "log.txt"
        hits = await one.call("search_memory", query="oil boat fridays")
        assert hits["hits"][0]["source"] == "log.txt"
        assert (await one.call("list_runs"))["runs"] == []
        agents = {agent["name"] for agent in (await one.call("list_agents"))["agents"]}
        assert "librarian" in agents


async def test_a_constellation_is_brought_over_from_the_files_of_a_home(environment: dict[str, str], tmp_path: Path):
    home, package = tmp_path / "home", tmp_path / "all.atlas"
    async with host(home) as before:
        await before.call("share_knowledge", name="log.txt", text=TEXT)
        await before.call("update_agent_memory", agent="librarian", label="human", value="Her name is Ada.")
    await command(home, "export", str(package))
    await command(home, "import", str(package), **environment)
    async with host(home, **environment) as after:
        hits = await after.call("search_memory", query="oil boat fridays")
        assert hits["hits"][0]["source"] == "log.txt"
        blocks = (await after.call("get_agent_memory", agent="librarian", label="human"))["blocks"]
        assert [block["value"] for block in blocks] == ["Her name is Ada."]


async def command(home: Path, *words: str, **environment: str) -> None:
    done = await anyio.run_process(
        [sys.executable, "-m", "atlas_mcp", *words],
        env={**os.environ, "ATLAS_HOME": str(home), **environment},
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


async def test_a_server_without_its_postgresql_says_so_and_goes_on_when_it_is_back(
    server: RunningPostgres, environment: dict[str, str], tmp_path: Path
):
    async with host(tmp_path / "home", **environment) as one:
        goal = {"goal": "How was the light kept?", "materials": [{"name": "log.txt", "text": TEXT}]}
        run = await one.call("run_team_task", **goal, wait_seconds=0)
        await until_event(one, run["run_id"], "turn_finished", 1)
        await anyio.to_thread.run_sync(server.stop)
        status = await one.call("get_status")
        (record,) = [room for room in status["rooms"] if room["name"] == "record"]
        assert record["health"] == "failing"
        assert not status["ok"]
        await anyio.sleep(10)  # the fault itself: it is gone for ten seconds
        await anyio.to_thread.run_sync(server.start)
        done = await ended(one, run["run_id"], DEADLINE * 2)
    assert done["status"] == "completed"
    finished = Counter(event["turn_id"] for event in done["events"] if event["type"] == "turn_finished")
    assert set(finished.values()) == {1}


async def test_an_embedded_letta_beside_a_postgresql_is_refused_with_what_to_do(
    server: RunningPostgres, tmp_path: Path
):
    alone = {"ATLAS_DATABASE_URL": server.new_database(), "ATLAS_HOME": str(tmp_path / "home")}
    done = await anyio.run_process(
        [sys.executable, "-m", "atlas_mcp", "serve"],
        env={**os.environ, **alone},
        check=False,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert done.returncode != 0
    assert b"LETTA_BASE_URL" in done.stderr
