"""`server.json`, by which the registry of MCP servers lists ATLAS: its own rules, and what it says is so."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from atlas_mcp import __version__
from atlas_mcp.cli.install_hosts import is_secret
from atlas_mcp.settings import PROVIDER_VARIABLES, Settings

ROOT = Path(__file__).parents[2]
SERVER = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_name_and_description_keep_to_the_registrys_rules() -> None:
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", SERVER["name"])
    assert 3 <= len(SERVER["name"]) <= 200
    assert 1 <= len(SERVER["description"]) <= 100
    assert 1 <= len(SERVER["title"]) <= 100
    assert SERVER["$schema"].startswith("https://static.modelcontextprotocol.io/schemas/")


def test_the_version_is_the_packages_and_exact() -> None:
    versions = {SERVER["version"], *(package["version"] for package in SERVER["packages"])}
    assert versions == {__version__}


def test_the_readme_says_whose_package_it_is() -> None:
    """The registry looks for this line in the package's description on the index."""
    readme = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    assert f"<!-- mcp-name: {SERVER['name']} -->" in readme


def test_the_package_can_be_started_as_it_says() -> None:
    (package,) = SERVER["packages"]
    assert package["identifier"] == PROJECT["name"]
    assert package["identifier"] in PROJECT["scripts"], "uvx runs the command that is called like the package"
    assert [argument["value"] for argument in package["packageArguments"]] == ["serve"]
    assert package["transport"] == {"type": "stdio"}
    extras = PROJECT["optional-dependencies"]
    assert {argument["value"] for argument in package["runtimeArguments"]} == {*extras["anthropic"], *extras["openai"]}


def test_its_variables_are_settings_and_keys_are_secret() -> None:
    known = {f"ATLAS_{name.upper()}" for name in Settings.model_fields} | {*PROVIDER_VARIABLES}
    (package,) = SERVER["packages"]
    for variable in package["environmentVariables"]:
        assert variable["name"] in known
        assert variable.get("isSecret", False) is is_secret(variable["name"])
        assert not variable["isRequired"], "without any of them the offline model answers"
