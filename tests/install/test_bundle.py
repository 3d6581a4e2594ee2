"""The bundle for Claude Desktop: it packs, it validates, it asks for what it needs, and its command really starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters, stdio_client
from mcp.client import Client

from atlas_mcp import __version__
from tests.npm import needs, program
from tests.server.doors import call

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]


def ran(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, made as its script says."""
    folder = tmp_path_factory.mktemp("dist") / "mcpb"
    told = ran([sys.executable, str(ROOT / "deploy" / "mcpb" / "build.py"), str(folder)])
    return Path(told.splitlines()[-1] if Path(told.splitlines()[-1]).exists() else told.splitlines()[0])


@pytest.fixture
def unpacked(bundle: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_it_holds_this_version_and_pins_everything_else(bundle: Path, unpacked: Path) -> None:
    assert bundle.name == f"atlas-mcp-{__version__}.mcpb"
    wheel = f"atlas_constellation-{__version__}-py3-none-any.whl"
    assert {path.name for path in unpacked.iterdir()} == {
        *("LICENSE", "main.py", "manifest.json", "pyproject.toml"),
        wheel,
    }
    manifest = json.loads((unpacked / "manifest.json").read_text())
    assert manifest["version"] == __version__
    project = tomllib.loads((unpacked / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["sources"]["atlas-constellation"] == {"path": wheel}
    pinned = project["tool"]["uv"]["constraint-dependencies"]
    assert {line.partition("==")[0] for line in pinned} > {"mcp", "pydantic", "langchain-anthropic", "mlflow"}
    assert all("==" in line for line in pinned)


def test_it_asks_for_provider_model_and_key_and_keeps_the_key_as_a_secret(unpacked: Path) -> None:
    asked = json.loads((unpacked / "manifest.json").read_text())["user_config"]
    assert set(asked) == {"provider", "model", "key", "home"}
    assert asked["key"]["sensitive"] is True
    assert not any(one["required"] for one in asked.values()), "it works with nothing filled in"


@needs("@anthropic-ai/mcpb")
def test_the_makers_own_tool_validates_unpacks_and_packs_it(bundle: Path, tmp_path: Path) -> None:
    mcpb = program("@anthropic-ai/mcpb", "mcpb")
    ran([*mcpb, "unpack", str(bundle), str(tmp_path / "bundle")])
    assert "validation passes" in ran([*mcpb, "validate", str(tmp_path / "bundle" / "manifest.json")])
    ran([*mcpb, "pack", str(tmp_path / "bundle"), str(tmp_path / "again.mcpb")])
    assert (tmp_path / "again.mcpb").stat().st_size > 0


def started(unpacked: Path, **filled_in: str) -> StdioServerParameters:
    """The manifest's command as a host starts it: places filled in, those left empty as they stand.

    The environment that uv would make of the wheel and its dependencies is the one that runs this test.
    """
    server = json.loads((unpacked / "manifest.json").read_text())["server"]["mcp_config"]
    places = {"__dirname": str(unpacked)} | {f"user_config.{name}": value for name, value in filled_in.items()}

    def fill(text: str) -> str:
        for place, value in places.items():
            text = text.replace(f"${{{place}}}", value)
        return text

    environment = {name: fill(value) for name, value in server["env"].items()}
    environment |= {"UV_NO_SYNC": "1", "UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_OFFLINE": "1"}
    environment |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    return StdioServerParameters(command=server["command"], args=[fill(arg) for arg in server["args"]], env=environment)


async def status(parameters: StdioServerParameters) -> dict[str, Any]:
    async with Client(stdio_client(parameters)) as client:
        assert len((await client.list_tools()).tools) > 10
        return await call(client, "get_status")


@pytest.mark.anyio
async def test_its_command_starts_with_nothing_filled_in_and_the_offline_model_answers(
    unpacked: Path, tmp_path: Path
) -> None:
    told = await status(started(unpacked, home=str(tmp_path / "data")))
    assert told["offline"] is True
    assert told["home"] == str(tmp_path / "data")


@pytest.mark.anyio
async def test_what_was_filled_in_decides_on_the_model(unpacked: Path, tmp_path: Path) -> None:
    filled = {"provider": "openai", "model": "gpt-5", "key": "sk-planted", "home": str(tmp_path / "data")}
    told = await status(started(unpacked, **filled))
    assert told["model"] == "openai:gpt-5"
    assert told["offline"] is False
    assert "sk-planted" not in json.dumps(told)
