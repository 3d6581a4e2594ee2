"""Several Lettas: where a constellation is put, that it stays there, and that a dead server is its own affair only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from letta_client import AsyncLetta

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import AtlasError, ConstellationMoving, LettaUnavailable
from atlas_mcp.letta import lettas as lettas_room
from atlas_mcp.letta import placement
from atlas_mcp.letta.lettas import open_lettas
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.server import Server, server_at
from atlas_mcp.settings import load_settings
from atlas_mcp.store.locks import Locks
from tests.letta_process import LettaProcess, letta_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

CALLERS = [f"key:caller-{n}" for n in range(2_000)]
DEADLINE = 150


def server(name: str, weight: float = 1.0) -> Server:
    return Server(name=name, base_url=f"http://{name}:8283", weight=weight)


def placed(*servers: Server) -> dict[str, str]:
    return {caller: placement.choose(caller, servers).name for caller in CALLERS}


def test_every_process_chooses_the_same_server_whatever_the_order() -> None:
    assert placed(server("a"), server("b"), server("c")) == placed(server("c"), server("a"), server("b"))
    chosen = [placement.choose(f"key:{n}", [server("a"), server("b"), server("c")]).name for n in range(8)]
    assert chosen == EXPECTED, "another choice would move everybody's constellation at an update"


EXPECTED = ["b", "a", "a", "a", "c", "a", "c", "c"]


def test_constellations_spread_by_weight() -> None:
    count = Counter(placed(server("a"), server("b", 3.0), server("c", 0.0)).values())
    assert count["c"] == 0
    assert 0.2 < count["a"] / len(CALLERS) < 0.3


def test_a_server_more_draws_constellations_to_itself_only_and_one_less_gives_up_its_own_only() -> None:
    two, three = placed(server("a"), server("b")), placed(server("a"), server("b"), server("c"))
    moved = [caller for caller in CALLERS if two[caller] != three[caller]]
    assert {three[caller] for caller in moved} == {"c"}
    assert 0.25 < len(moved) / len(CALLERS) < 0.42


# -- with real servers


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, LettaProcess]]:
    """Two Letta servers, `one` and `two`, in the settings of the home."""
    with ExitStack() as stack:
        running = {name: stack.enter_context(letta_process(tmp_path / name)) for name in ("one", "two")}
        configure(tmp_path / "home", running)
        yield running


def configure(home: Path, servers: dict[str, LettaProcess], *, embedded: bool = False) -> None:
    home.mkdir(exist_ok=True)
    tables = [
        f'[[letta_servers]]\nname = "{name}"\nbase_url = "{s.address}"\napi_key = "{s.key}"\n'
        for name, s in servers.items()
    ]
    tables += ['[[letta_servers]]\nname = "embedded"\nbase_url = "embedded"\n'] if embedded else []
    (home / "settings.toml").write_text("\n".join(tables))
    (home / "settings.toml").chmod(0o600)


def caller_on(name: str, names: tuple[str, ...] = ("one", "two")) -> Caller:
    """A caller whose constellation belongs on that server."""
    among = [server(n) for n in names]
    return Caller(id=next(c for c in CALLERS if placement.choose(c, among).name == name), kind="key")


async def hello(atlas: Atlas, caller: Caller) -> str:
    reply = await atlas.chat(caller, "librarian", "Hello.")
    assert "offline" in str(reply.note), "the offline model of that server answered, and it is said"
    return reply.status


async def agents_at(process: LettaProcess) -> list[str]:
    async with AsyncLetta(base_url=process.address, api_key=process.key) as client:
        return [agent.name async for agent in client.agents.list()]


def kept(home: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return record.execute(sql).fetchall()


async def test_each_constellation_is_on_its_own_server_and_stays_there(
    pair: dict[str, LettaProcess], home: Path
) -> None:
    first, second = caller_on("one"), caller_on("two")
    async with open_atlas(load_settings()) as atlas:
        assert {await hello(atlas, first), await hello(atlas, second)} == {"completed"}
        assert await agents_at(pair["one"]) == ["librarian"]
        assert await agents_at(pair["two"]) == ["librarian"]
        assert {s.name: s.constellations for s in await atlas.servers()} == {"one": 1, "two": 1}
    assert set(kept(home, "SELECT caller, server FROM agent")) == {(first.id, "one"), (second.id, "two")}


async def test_a_constellation_stays_where_it_is_when_another_letta_would_be_chosen_now(
    pair: dict[str, LettaProcess], home: Path
) -> None:
    two = [server("one"), server("two")]
    three = [*two, server_at("embedded")]
    drawn = next(
        c for c in CALLERS if [placement.choose(c, among).name for among in (two, three)] == ["one", "embedded"]
    )
    stays = Caller(id=drawn, kind="key")
    async with open_atlas(load_settings()) as atlas:
        await hello(atlas, stays)
    configure(home, pair, embedded=True)
    async with open_atlas(load_settings()) as atlas:
        await hello(atlas, stays)
    assert kept(home, f"SELECT server FROM agent WHERE caller = '{drawn}'") == [("one",)]


async def test_a_dead_server_is_an_error_for_those_on_it_and_for_nobody_else(
    pair: dict[str, LettaProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = partial(open_lettas, patience=30)  # on any machine longer than the others need
    monkeypatch.setattr(lettas_room, "open_lettas", patient)
    first, second = caller_on("one"), caller_on("two")
    pair["one"].stop()
    async with open_atlas(load_settings()) as atlas:
        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as tasks:
                errors: list[AtlasError] = []

                async def in_vain() -> None:
                    with pytest.raises(LettaUnavailable) as error:
                        await hello(atlas, first)
                    errors.append(error.value)

                tasks.start_soon(in_vain)
                assert await hello(atlas, second) == "completed"
                assert not errors, "nobody waits for the dead server but those on it"
            assert "one" in str(errors[0])
            status = await atlas.status(second)
            health = {room.name: room.health for room in status.rooms if room.name.startswith("letta")}
            assert health == {"letta one": "failing", "letta two": "ok"}
            await anyio.to_thread.run_sync(pair["one"].start)
            while True:
                try:
                    assert await hello(atlas, first) == "completed"
                except LettaUnavailable:
                    await anyio.sleep(0.1)
                else:
                    break


async def test_a_server_taken_out_of_the_settings_keeps_what_it_has_until_it_is_back(
    pair: dict[str, LettaProcess], home: Path
) -> None:
    caller = caller_on("one")
    async with open_atlas(load_settings()) as atlas:
        await atlas.update_memory(caller, "librarian", "human", value="Likes tea.")
    configure(home, {"two": pair["two"]})
    async with open_atlas(load_settings()) as atlas:
        assert (await atlas.get_memory(caller, "librarian", "human"))[0].value == ""
        notes = " ".join((await atlas.status(caller)).notes)
        assert "1 of your agents are on one, and your constellation is on two now" in notes
        assert "Configure one again; then `atlas-mcp servers move --from one`" in notes
    configure(home, {"one": pair["one"]})
    async with open_atlas(load_settings()) as atlas:
        assert (await atlas.get_memory(caller, "librarian", "human"))[0].value == "Likes tea."


async def test_a_constellation_that_is_being_moved_waits_and_a_move_that_was_killed_holds_up_nobody(
    pair: dict[str, LettaProcess], home: Path
) -> None:
    caller = caller_on("one")
    async with open_atlas(load_settings()) as atlas:
        await hello(atlas, caller)

        def mark() -> None:
            with closing(sqlite3.connect(home / "atlas.db", timeout=60)) as record:
                record.execute("UPDATE placement SET moving_to = 'two'")
                record.commit()

        await anyio.to_thread.run_sync(mark)  # the last of the turn may still be written: the loop must go on
        held = Locks(home / "locks").try_hold(placement.moving_lock(caller.id))
        assert held
        with held, pytest.raises(ConstellationMoving, match="is being moved"):
            await hello(atlas, caller)
        assert await hello(atlas, caller) == "completed"
