"""Which file is whose, on each platform; what an entry looks like there; where a secret may stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlas_mcp.cli.install_hosts import HOSTS, Machine, entry, file_of, inputs
from atlas_mcp.errors import InvalidInput

HOME = Path("/home/ada")
FILES = {
    ("linux", "claude-desktop"): ".config/Claude/claude_desktop_config.json",
    ("linux", "claude-code"): ".claude.json",
    ("linux", "cursor"): ".cursor/mcp.json",
    ("linux", "vscode"): ".config/Code/User/mcp.json",
    ("darwin", "claude-desktop"): "Library/Application Support/Claude/claude_desktop_config.json",
    ("darwin", "claude-code"): ".claude.json",
    ("darwin", "cursor"): ".cursor/mcp.json",
    ("darwin", "vscode"): "Library/Application Support/Code/User/mcp.json",
    ("win32", "claude-desktop"): "AppData/Roaming/Claude/claude_desktop_config.json",
    ("win32", "claude-code"): ".claude.json",
    ("win32", "cursor"): ".cursor/mcp.json",
    ("win32", "vscode"): "AppData/Roaming/Code/User/mcp.json",
}


@pytest.mark.parametrize(("platform", "host"), FILES)
def test_each_platform_has_its_place_for_a_users_servers(platform: str, host: str) -> None:
    assert file_of(HOSTS[host], Machine(platform, HOME), None) == HOME / FILES[platform, host]


@pytest.mark.parametrize(
    ("platform", "variable", "host", "rest"),
    [
        ("linux", "XDG_CONFIG_HOME", "vscode", "Code/User/mcp.json"),
        ("win32", "APPDATA", "claude-desktop", "Claude/claude_desktop_config.json"),
        ("linux", "CLAUDE_CONFIG_DIR", "claude-code", ".claude.json"),
    ],
)
def test_a_place_that_was_moved_by_a_variable_is_found(platform: str, variable: str, host: str, rest: str) -> None:
    machine = Machine(platform, HOME, {variable: "/elsewhere"})
    assert file_of(HOSTS[host], machine, None) == Path("/elsewhere") / rest


def test_the_packaged_claude_desktop_of_windows_has_a_place_of_its_own(tmp_path: Path) -> None:
    package = tmp_path / "AppData" / "Local" / "Packages" / "Claude_pzs8sxrjxfjjc"
    package.mkdir(parents=True)
    found = file_of(HOSTS["claude-desktop"], Machine("win32", tmp_path), None)
    assert found == package / "LocalCache" / "Roaming" / "Claude" / "claude_desktop_config.json"


def test_a_project_has_its_own_file_where_the_host_knows_projects(tmp_path: Path) -> None:
    machine = Machine("linux", HOME)
    assert file_of(HOSTS["claude-code"], machine, tmp_path) == tmp_path / ".mcp.json"
    assert file_of(HOSTS["cursor"], machine, tmp_path) == tmp_path / ".cursor" / "mcp.json"
    assert file_of(HOSTS["vscode"], machine, tmp_path) == tmp_path / ".vscode" / "mcp.json"
    with pytest.raises(InvalidInput, match="Claude Desktop has no file for a project") as told:
        file_of(HOSTS["claude-desktop"], machine, tmp_path)
    assert "claude-code, cursor, vscode" in str(told.value)


def test_a_secret_is_only_referred_to_by_every_host_that_can() -> None:
    given = {"OPENAI_API_KEY": "sk-hidden", "ATLAS_MODEL": "openai:gpt-5", "ATLAS_DATABASE_URL": "postgresql://a:b@c/d"}
    written = {name: entry(host, "/py", given)["env"] for name, host in HOSTS.items()}
    assert written["claude-code"]["OPENAI_API_KEY"] == "${OPENAI_API_KEY}"
    assert written["cursor"]["OPENAI_API_KEY"] == "${env:OPENAI_API_KEY}"
    assert written["vscode"]["OPENAI_API_KEY"] == "${input:atlas-openai-api-key}"
    assert written["claude-desktop"]["OPENAI_API_KEY"] == "sk-hidden", "it knows no other way"
    for name in ("claude-code", "cursor", "vscode"):
        assert "sk-hidden" not in str(written[name])
        assert "a:b" not in str(written[name])
        assert written[name]["ATLAS_MODEL"] == "openai:gpt-5"
    asked = inputs(HOSTS["vscode"], given)
    assert [one["id"] for one in asked] == ["atlas-openai-api-key", "atlas-atlas-database-url"]
    assert all(one["password"] is True and one["type"] == "promptString" for one in asked)
