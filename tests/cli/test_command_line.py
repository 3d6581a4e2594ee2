"""The command line as people use it: readable help, one clear line for a mistake, the right exit code."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx2
import pytest

from atlas_mcp import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
COMMAND = [sys.executable, "-m", "atlas_mcp"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def refused(*arguments: str, **environment: str) -> str:
    """What a mistake is told: exit code 2, nothing on stdout, no traceback."""
    done = run(*arguments, **environment)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("demo", "serve", "status", "doctor", "servers", "traces", "letta", "export", "import"):
        assert re.search(rf"│ {command} ", done.stdout)
        assert run(command, "--help").returncode == 0


def test_the_version_is_told() -> None:
    assert run("--version").stdout.strip() == __version__


def test_the_status_is_told_and_says_what_answers() -> None:
    done = run("status")
    assert done.returncode == 0
    assert "offline" in done.stdout
    assert "ATLAS_MODEL" in done.stdout
    assert "sandbox" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dmo"], "No such command"),
        (["serve", "--htp"], "No such option"),
        (["serve", "--port", "8000"], "--port: it is for HTTP. Add --http."),
        (["serve", "--allow-host", "a.example"], "--allow-host: it is for HTTP. Add --http."),
        (["serve", "--http", "--port", "x"], "--port"),
        (["serve", "--http", "--port", "70000"], "--port: 70000 is not a port"),
        (["letta", "--port", "99999"], "--port: 99999 is not a port. Use 0 to 65535."),
        (["traces", "--port", "99999"], "--port: 99999 is not a port. Use 0 to 65535."),
        (["traces", "--port", "-1"], "--port: -1 is not a port. Use 0 to 65535."),
        (["demo", "--file", "no-such-file.md"], "--file: no-such-file.md cannot be read"),
        (["demo", "--rounds", "0"], "--rounds"),
        (["letta", "--host", "0.0.0.0"], "loopback"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_in_words(arguments: list[str], words: str) -> None:
    assert words in refused(*arguments)


def test_a_broken_roster_is_told_with_its_line(tmp_path: Path) -> None:
    roster = tmp_path / "roster.toml"
    roster.write_text('name = "mine"\nagents = [\n')
    told = refused("status", ATLAS_ROSTER=str(roster))
    assert "ATLAS_ROSTER" in told
    assert re.search(r"line \d", told)


@pytest.mark.parametrize("command", ["status", "serve", "demo"])
def test_an_unknown_model_and_a_missing_key_are_told(command: str) -> None:
    assert "nobody" in refused(command, ATLAS_MODEL="nobody:model")
    assert "OPENAI_API_KEY" in refused(command, ATLAS_MODEL="openai:gpt-5")


def test_a_setting_nobody_knows_is_told(home: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text('modle = "x"\n')
    assert "modle" in refused("status")


@pytest.mark.parametrize("command", ["status", "demo", "letta"])
def test_a_home_that_cannot_be_written_is_told(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "ATLAS_HOME" in refused(command, ATLAS_HOME=str(tmp_path / "file"))


def test_a_broken_database_is_told_by_its_name(home: Path) -> None:
    home.mkdir()
    (home / "letta.db").write_text("not a database")
    assert "letta.db cannot be used: file is not a database" in refused("letta", "--port", "0")


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "already in use" in refused("letta", "--port", port)


@pytest.fixture
def letta(home: Path) -> Iterator[tuple[str, str]]:
    command = [*COMMAND, "letta", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        address = None
        while address is None:
            line = process.stderr.readline()
            assert line, "it ended"
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield address[0], (home / "keys" / "letta").read_text().strip()
        process.send_signal(signal.SIGTERM) if os.name != "nt" else process.kill()
        assert process.wait(90) == 0 or os.name == "nt"


def test_the_embedded_letta_answers_its_keys_holder_only(letta: tuple[str, str]) -> None:
    address, key = letta
    bearer = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=address, timeout=30) as http:
        assert http.get("/v1/agents/", headers=bearer).json() == []
        assert http.get("/v1/agents/").status_code == 401
        assert http.get("/v1/agents/", headers=bearer | {"Host": "evil.example"}).status_code in {403, 421}
