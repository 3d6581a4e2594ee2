"""`atlas-mcp install`, as a person runs it: the change is shown, what is there is kept, and all of it can be undone."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from atlas_mcp.cli.install_edit import get

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "atlas_mcp"]
ENTRY = {"command": sys.executable, "args": ["-m", "atlas_mcp", "serve"]}
FILES = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers"),
    "claude-code": (".claude.json", "mcpServers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
    "vscode": (".config/Code/User/mcp.json", "servers"),
}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has nothing set but where it is."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "ATLAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "ada"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return folder


def atlas(*arguments: str, cwd: Path | None = None, code: int = 0, **environment: str) -> str:
    """What the command prints; it ends with that code, and a refusal is told on stderr alone."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stderr if code == 2 else done.stdout


@pytest.mark.parametrize("host", FILES)
def test_a_host_without_any_file_gets_one_and_loses_it_again(user: Path, host: str) -> None:
    path, servers = user / FILES[host][0], FILES[host][1]
    told = atlas("install", host, "--yes")
    assert f"Made {path}" in told
    assert f'+      "command": "{sys.executable}",' in told
    entry = json.loads(path.read_text())[servers]["atlas"]
    assert {key: entry[key] for key in ENTRY} == ENTRY
    assert "env" not in entry, "no setting was given, so that none is written"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Nothing to do" in atlas("install", host, "--yes")
    assert "Deleted" in atlas("uninstall", host, "--yes")
    assert not path.exists()
    assert "Nothing to do" in atlas("uninstall", host, "--yes")


MINE = """\
{
  // what I use every day
  "servers": {
    "github": {
      "url": "https://api.example.com/mcp", /* remote */
    },
  },
  "inputs": [
    // asked once
    { "type": "promptString", "id": "token", "description": "a token" }
  ],
  "unknown": { "key": [1, 2,] }
}
"""


def test_what_is_there_stays_and_comes_back_to_the_last_character(user: Path) -> None:
    path = user / FILES["vscode"][0]
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    path.chmod(0o640)
    told = atlas("install", "vscode", "--env", "OPENAI_API_KEY", "--yes", OPENAI_API_KEY="sk-planted")
    now = path.read_text()
    assert "sk-planted" not in now + told
    for line in MINE.splitlines():
        assert line.rstrip(", }") in now
    assert get(now, ["servers", "atlas", "env"]) == {"OPENAI_API_KEY": "${input:atlas-openai-api-key}"}
    assert [one["id"] for one in get(now, ["inputs"])] == ["token", "atlas-openai-api-key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    backup = next((user / "data").rglob("hosts/*"))
    assert str(backup) in told
    assert backup.read_text() == MINE
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "Nothing to do" in atlas("install", "vscode", "--env", "OPENAI_API_KEY", "--yes")
    atlas("uninstall", "vscode", "--yes")
    assert path.read_text() == MINE


def test_after_somebody_else_changed_the_file_only_what_is_atlas_is_taken_out(user: Path) -> None:
    path = user / FILES["vscode"][0]
    path.parent.mkdir(parents=True)
    path.write_text(MINE)
    atlas("install", "vscode", "--env", "OPENAI_API_KEY", "--yes")
    path.write_text(path.read_text().replace('"unknown"', '"since": true, "unknown"'))
    atlas("uninstall", "vscode", "--yes")
    now = path.read_text()
    assert get(now, []) == {**get(MINE, []), "since": True}
    for comment in ("// what I use every day", "/* remote */", "// asked once"):
        assert comment in now


def test_a_new_interpreter_is_written_and_what_the_user_added_to_the_entry_stays(user: Path) -> None:
    path = user / FILES["claude-code"][0]
    old = {"command": "/old/python", "args": ["-m", "atlas_mcp", "serve", "--toolset", "all"], "timeout": 600000}
    path.write_text(json.dumps({"mcpServers": {"atlas": {**old, "env": {"MINE": "1"}}}, "numStartups": 7}, indent=2))
    told = atlas("install", "claude-code", "--yes", ATLAS_HOME=str(user / "home"))
    assert '-      "command": "/old/python",' in told
    assert json.loads(path.read_text()) == {
        "mcpServers": {
            "atlas": {
                **old,
                "command": sys.executable,
                "env": {"MINE": "1", "ATLAS_HOME": str(user / "home")},
                "type": "stdio",
            }
        },
        "numStartups": 7,
    }
    atlas("uninstall", "claude-code", "--yes", ATLAS_HOME=str(user / "home"))
    assert json.loads(path.read_text()) == {"mcpServers": {}, "numStartups": 7}, "the older one is not brought back"


def test_an_entry_of_the_same_name_that_is_somebody_elses_is_shown_and_comes_back(user: Path) -> None:
    path = user / FILES["cursor"][0]
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"atlas": {"url": "https://atlas.example.com"}}}')
    assert "https://atlas.example.com" in atlas("install", "cursor", "--yes")
    assert json.loads(path.read_text())["mcpServers"]["atlas"] == ENTRY
    atlas("uninstall", "cursor", "--yes")
    assert path.read_text() == '{"mcpServers": {"atlas": {"url": "https://atlas.example.com"}}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{\n  "mcpServers": {\n    "x": 1\n    "y": 2\n  }\n}', 'line 4, column 5: a "," or "}" should stand here'),
        (b'{"mcpServers": []}', "mcpServers is no object"),
        (b"[]", "the whole is no object"),
        (b"\xff\xfe{", "is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_as_it_is(user: Path, text: bytes, words: str) -> None:
    path = user / FILES["claude-code"][0]
    path.write_bytes(text)
    told = atlas("install", "claude-code", "--yes", code=2)
    assert str(path) in told
    assert words in told
    assert "Nothing was changed" in told
    assert path.read_bytes() == text


def test_no_key_is_shown_neither_of_ours_nor_of_others(user: Path) -> None:
    path = user / FILES["claude-desktop"][0]
    path.parent.mkdir(parents=True)
    path.write_text(
        '{\n  "mcpServers": {\n    "github": {\n      "env": {"GITHUB_TOKEN": "ghp_planted"}\n    }\n  }\n}\n'
    )
    told = atlas("install", "claude-desktop", "--env", "OPENAI_API_KEY", "--yes", OPENAI_API_KEY="sk-planted")
    assert "OPENAI_API_KEY now stands in that file" in told
    assert '"OPENAI_API_KEY": "…"' in told
    assert '"GITHUB_TOKEN": "…"' in told
    assert get(path.read_text(), ["mcpServers", "atlas", "env"]) == {"OPENAI_API_KEY": "sk-planted"}
    assert "planted" not in told + atlas("uninstall", "claude-desktop", "--yes")


def test_a_link_is_followed_and_stays_one(user: Path) -> None:
    real = user / "dotfiles" / "claude.json"
    real.parent.mkdir()
    real.write_text("{}")
    (user / ".claude.json").symlink_to(real)
    atlas("install", "claude-code", "--yes")
    assert (user / ".claude.json").is_symlink()
    assert "atlas" in json.loads(real.read_text())["mcpServers"]
    atlas("uninstall", "claude-code", "--yes")
    assert real.read_text() == "{}"


def test_a_link_in_a_circle_is_told(user: Path) -> None:
    (user / ".claude.json").symlink_to(user / ".claude.json")
    assert ".claude.json cannot be read" in atlas("install", "claude-code", "--yes", code=2)


def test_a_project_gets_a_file_of_its_own(user: Path) -> None:
    project = user / "project"
    project.mkdir()
    for host, name, servers in (
        ("claude-code", ".mcp.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", "mcpServers"),
        ("vscode", ".vscode/mcp.json", "servers"),
    ):
        atlas("install", host, "--project", "--yes", cwd=project)
        assert json.loads((project / name).read_text())[servers]["atlas"]["command"] == sys.executable
    assert "no file for a project" in atlas("install", "claude-desktop", "--project", "--yes", cwd=project, code=2)
    assert not (user / ".claude.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["install", "emacs"], "'claude-desktop', 'claude-code', 'cursor', 'vscode'"),
        (["install", "cursor"], "--yes: nobody can be asked here"),
        (["install", "cursor", "--env", "ATLAS_MODEL", "--yes"], "ATLAS_MODEL is not set in this shell"),
        (["install", "claude-desktop", "--env", "OPENAI_API_KEY", "--yes"], "OPENAI_API_KEY is not set in this shell"),
        (["install", "cursor", "--env", "A=b", "--yes"], "'A=b' is no name of a variable"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(user: Path, arguments: list[str], words: str) -> None:
    assert words in " ".join(atlas(*arguments, code=2).split())
    assert not any(path.name.endswith("mcp.json") or "claude" in path.name for path in user.rglob("*.json"))


def test_keys_of_the_shell_that_the_host_may_not_hand_on_are_mentioned(user: Path) -> None:
    told = atlas("install", "cursor", "--yes", ATLAS_MODEL="openai:gpt-5", OPENAI_API_KEY="sk-planted")
    assert "--env ATLAS_MODEL --env OPENAI_API_KEY" in told
    assert "sk-planted" not in told + (user / ".cursor/mcp.json").read_text()


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0), ("", 0)])
def test_a_person_is_asked_first(user: Path, answer: str, code: int) -> None:
    asked = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "install", "cursor"], encoding="utf-8", timeout=100)
    asked.expect(r'"atlas_mcp"')
    asked.expect(r"Change it\? \[Y/n\]")
    assert not (user / ".cursor").exists()
    asked.sendline(answer)
    asked.expect(pexpect.EOF)
    asked.wait()
    assert asked.exitstatus == code
    assert (user / ".cursor/mcp.json").exists() is (code == 0)


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_what_the_host_writes_while_a_person_thinks_is_not_lost(user: Path) -> None:
    path = user / ".claude.json"
    path.write_text('{\n  "numStartups": 1\n}\n')
    asked = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "install", "claude-code"], encoding="utf-8", timeout=100)
    asked.expect(r"Change it\?")
    path.write_text('{\n  "numStartups": 2\n}\n')
    asked.sendline("y")
    asked.expect("Somebody else has changed the file meanwhile")
    asked.expect(r"Change it\?")
    asked.sendline("y")
    asked.expect(pexpect.EOF)
    assert get(path.read_text(), ["numStartups"]) == 2
    assert get(path.read_text(), ["mcpServers", "atlas", "command"]) == sys.executable
