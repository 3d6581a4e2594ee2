"""The doctor on this machine: hosts' entries really started, models really called, the home seen from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.npm import MODULES, needs
from tests.scripted_model import ScriptedModel

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
COMMAND = [sys.executable, "-m", "atlas_mcp"]


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user who has nothing set but where it is, and who works in it."""
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "ada"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder


def atlas(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed, in one line without frames."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "400", **environment},
    )
    assert "Traceback" not in done.stdout + done.stderr, done
    return done.returncode, " ".join(re.sub("[│╭╮╰╯─]", " ", done.stdout).split())


def test_a_machine_without_hosts_is_told_how_to_get_one(user: Path) -> None:
    code, told = atlas("doctor")
    assert code == 0, told
    assert f"at {sys.executable}" in told
    assert "GB are free on its disk" in told
    assert "The keys in the home are yours alone to read" in told
    assert "No host that ATLAS knows starts it. → atlas-mcp install claude-desktop|claude-code|cursor|vscode" in told


def test_an_entry_is_started_and_its_tools_are_counted(user: Path) -> None:
    assert atlas("install", "claude-desktop", "--yes")[0] == 0
    assert atlas("install", "cursor", "--project", "--yes")[0] == 0
    code, told = atlas("doctor")
    assert code == 0, told
    assert f"{user / '.config/Claude/claude_desktop_config.json'}: it starts, with 17 tools" in told
    assert "cursor, project" not in told, "in the user's own folder both are one file"
    assert f"{user / '.cursor/mcp.json'}: it starts, with 17 tools" in told


def _entry(path: Path, servers: str, command: str, *args: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({servers: {"atlas": {"command": command, "args": [*args]}}}))
    return path


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script, and modes are POSIX's")
def test_whatever_is_wrong_is_named_with_what_mends_it(user: Path, home: Path) -> None:
    ours = ["-m", "atlas_mcp", "serve"]
    old = user / "python"
    old.write_text('#!/bin/sh\n[ "$1" = -c ] && echo "3 9" && exit 0\necho "no module named atlas_mcp" >&2\nexit 1\n')
    old.chmod(0o700)
    _entry(user / ".config/Claude/claude_desktop_config.json", "mcpServers", "/gone/bin/python", *ours)
    _entry(user / ".cursor/mcp.json", "mcpServers", str(old), *ours)
    _entry(user / ".config/Code/User/mcp.json", "servers", sys.executable, "-c", "raise SystemExit('I will not')")
    broken = user / ".claude.json"
    broken.write_text('{\n  "mcpServers": {,}\n}')
    (home / "keys").mkdir(parents=True, mode=0o700)
    (home / "keys" / "http").write_text("planted")
    (home / "keys" / "http").chmod(0o644)
    code, told = atlas("doctor")
    assert code == 1
    assert "it starts /gone/bin/python, and no such program is there. → atlas-mcp install claude-desktop" in told
    assert f"{old} is Python 3.9, and ATLAS needs 3.11 or newer. → atlas-mcp install cursor" in told
    assert "it does not start: I will not → atlas-mcp install vscode" in told
    assert f"{broken}, line 2, column 18: a name in quotes" in told
    assert f"Other users may reach {home / 'keys' / 'http'}. → Close it: chmod -R go= '{home / 'keys'}'" in told
    assert "planted" not in told


def test_a_model_is_called_only_when_asked_for_and_its_cost_is_told(user: Path, home: Path) -> None:
    with ScriptedModel() as model:
        given = {"ATLAS_MODEL": "openai:scripted-1", "ATLAS_MODEL_BASE_URL": model.url, "OPENAI_API_KEY": "sk-planted"}
        code, told = atlas("doctor", **given)
        assert code == 0, told
        assert len(model.requests) == 0
        (home / "settings.toml").write_text(
            '[prices."openai:scripted-1"]\ninput_per_million = 1000\noutput_per_million = 0\n'
        )
        code, told = atlas("doctor", "--call-model", **given)
        assert code == 0, told
        assert len(model.requests) == 1
        cost = re.search(
            r"model openai:scripted-1 It answered in [\d.]+ s; (\d+) tokens in, \d+ out, \$([\d.]+)\.", told
        )
        assert cost, told
        assert float(cost[2]) == int(cost[1]) / 1000 > 0
        model.script([{"status": 401, "message": "bad key sk-planted"}])
        code, told = atlas("doctor", "--call-model", **given)
        assert code == 1
        assert "OPENAI_API_KEY" in told
        assert "sk-planted" not in told


CLAUDE = MODULES / "@anthropic-ai" / "claude-code-linux-x64" / "claude"


@needs("@anthropic-ai/claude-code-linux-x64")
@pytest.mark.parametrize("moved", [False, True])
def test_claude_code_itself_connects_by_what_install_wrote(user: Path, moved: bool) -> None:
    environment = {"HOME": str(user), "PATH": os.environ["PATH"], "ATLAS_HOME": str(user / "home")}
    if moved:
        (user / "moved").mkdir()
        environment["CLAUDE_CONFIG_DIR"] = str(user / "moved")
    code, told = atlas("install", "claude-code", "--env", "OPENAI_API_KEY", "--yes", **environment)
    assert code == 0, told
    listed = subprocess.run(
        [str(CLAUDE), "mcp", "list"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=environment,
        cwd=user,
    )
    assert re.search(r"atlas: .*-m atlas_mcp serve - ✔ Connected", listed.stdout), listed
