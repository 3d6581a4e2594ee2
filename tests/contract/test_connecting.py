"""ATLAS comes to the real server: what it finds there, which model answers, and several Lettas beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from letta_client import AsyncLetta, AuthenticationError

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import AtlasError, UnknownModel, UnusableLetta
from atlas_mcp.letta import placement
from atlas_mcp.letta.door import Letta
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.server import Server, server_at
from atlas_mcp.settings import load_settings
from tests.real_letta import RealLetta
from tests.real_letta import real_letta as started

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

PASSWORD = "a password of this test"


@pytest.fixture(scope="module")
def secured() -> Iterator[RealLetta]:
    """A real server that wants a key."""
    with started(LETTA_SERVER_SECURE="true", LETTA_SERVER_PASSWORD=PASSWORD) as letta:
        yield letta


async def reply(atlas: Atlas, caller: Caller | None = None) -> str | None:
    return (await atlas.chat(caller or atlas.local_caller(), "librarian", "Hello there.")).reply


async def refusal() -> AtlasError:
    """What a chat is told with the environment as it is; what the doctor finds is the same."""
    async with open_atlas(load_settings()) as atlas:
        with pytest.raises(AtlasError) as refused:
            await reply(atlas)
        (found,) = await atlas.servers()
    assert refused.value.message in str(found.problem)
    assert found.next_step == refused.value.next_step
    return refused.value


async def test_the_server_is_found_with_what_it_can_do(real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    monkeypatch.setenv("LETTA_MODEL", real_letta.model)
    async with open_atlas(load_settings()) as atlas:
        (found,) = await atlas.servers()
        status = await atlas.status(atlas.local_caller())
    assert (found.kind, found.version, found.reachable, found.problem) == ("server", "0.16.8", True, None)
    assert found.model == real_letta.model
    assert real_letta.model in found.models
    assert real_letta.embedding in found.embeddings
    for ability in (
        "conversations: yes",
        "groups: shown there, run by ATLAS",
        "block limits: not enforced there, but by ATLAS",
        "folders: yes",
    ):
        assert ability in found.abilities
    (room,) = [room for room in status.rooms if room.name == "letta"]
    assert room.health == "ok"
    assert "0.16.8; conversations: yes" in room.text


@pytest.mark.parametrize(
    "environment",
    [
        {"LETTA_MODEL": "openai-proxy/scripted-1"},
        {"ATLAS_MODEL": "openai:scripted-1"},
        {"ATLAS_MODEL": "openai-proxy/scripted-1", "ATLAS_MODEL_RATER": "openai:scripted-1"},
    ],
)
async def test_a_model_that_is_clear_answers_and_no_key_is_needed_here(
    real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    async with open_atlas(load_settings()) as atlas:
        assert await reply(atlas)
    assert real_letta.scripted.last["model"] == "scripted-1"


async def test_without_a_model_or_with_an_unknown_one_the_servers_are_listed(
    real_letta: RealLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", real_letta.url)
    none = await refusal()
    monkeypatch.setenv("ATLAS_MODEL", "anthropic:claude-x")
    unknown = await refusal()
    assert "offline model cannot answer" in none.message
    assert "has no model 'anthropic:claude-x'" in unknown.message
    for error in (none, unknown):
        assert isinstance(error, UnknownModel)
        assert "Set LETTA_MODEL to one of: " in str(error)
        assert real_letta.model in str(error)


async def test_a_secured_server_says_which_variable_is_wrong_and_takes_the_right_key(
    secured: RealLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETTA_BASE_URL", secured.url)
    monkeypatch.setenv("LETTA_MODEL", secured.model)
    missing = await refusal()
    monkeypatch.setenv("LETTA_API_KEY", "another password")
    wrong = await refusal()
    for error, words in ((missing, "wants a key, and none is set (401)"), (wrong, "refuses the key (401)")):
        assert isinstance(error, UnusableLetta)
        assert words in error.message
        assert error.argument == "LETTA_API_KEY"
    monkeypatch.setenv("LETTA_API_KEY", PASSWORD)
    async with open_atlas(load_settings()) as atlas:
        assert await reply(atlas)


async def test_a_secured_server_says_to_everybody_that_it_is_there_and_nothing_else(secured: RealLetta) -> None:
    async with AsyncLetta(base_url=secured.url, api_key="wrong", max_retries=0) as client:
        assert (await client.health()).version
        with pytest.raises(AuthenticationError):
            await client.agents.list()
        with pytest.raises(AtlasError, match="LETTA_API_KEY"):
            await Letta(client, kind="server").find_agents(["any"])


async def test_constellations_live_beside_each_other_on_two_real_servers_and_the_embedded_one(
    real_letta: RealLetta, secured: RealLetta, home: Path
) -> None:
    home.mkdir()
    (home / "settings.toml").write_text(
        f'letta_model = "{real_letta.model}"\n'
        f'[[letta_servers]]\nname = "open"\nbase_url = "{real_letta.url}"\n'
        f'[[letta_servers]]\nname = "secured"\nbase_url = "{secured.url}"\napi_key = "{PASSWORD}"\n'
        '[[letta_servers]]\nname = "embedded"\nbase_url = "embedded"\n'
    )
    (home / "settings.toml").chmod(0o600)
    among = [Server(name=name, base_url="http://x") for name in ("open", "secured")] + [server_at("embedded")]
    on = {placement.choose(caller, among).name: caller for caller in map("key:{}".format, range(100))}
    secured.scripted.script(["from the secured one"])
    real_letta.scripted.script(["from the open one"])
    async with open_atlas(load_settings()) as atlas:
        replies = {name: await reply(atlas, Caller(id=caller, kind="key")) for name, caller in on.items()}
        counts = {found.name: found.constellations for found in await atlas.servers()}
        memory = await atlas.get_memory(Caller(id=on["secured"], kind="key"), "librarian", "human")
    assert replies["open"] == "from the open one"
    assert replies["secured"] == "from the secured one"
    assert replies["embedded"] not in {None, "from the open one", "from the secured one"}
    assert counts == {"open": 1, "secured": 1, "embedded": 1}
    assert memory[0].label == "human"
