"""The doctor: what is well is said, what is not is told with the setting or command that mends it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.letta_process import LettaProcess, letta_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "atlas_mcp"]


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and what was printed, in one line without frames."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "140", **environment},
    )
    assert "Traceback" not in done.stdout + done.stderr, done
    return done.returncode, " ".join(re.sub("[│╭╮╰╯─]", " ", done.stdout).split())


@pytest.fixture
def letta(tmp_path: Path) -> Iterator[LettaProcess]:
    with letta_process(tmp_path / "letta") as running:
        yield running


def test_with_nothing_set_everything_works_and_the_embedded_letta_is_shown() -> None:
    code, told = run("doctor")
    assert code == 0
    assert "Letta embedded" in told
    assert "0.16.8-embedded" in told
    assert "block limits enforced there" in told
    assert "ATLAS_MODEL" in told, "the offline model answers, and what to set is said"


def test_a_letta_server_is_shown_with_what_it_can_do_and_its_models(letta: LettaProcess) -> None:
    environment = {"LETTA_BASE_URL": letta.address, "LETTA_API_KEY": letta.key}
    code, told = run("doctor", **environment)
    assert code == 0, told
    for words in (letta.address, "0.16.8-embedded", "conversations yes", "groups unknown there, run by ATLAS"):
        assert words in told
    assert "models atlas/offline" in told
    assert "answers atlas/offline" in told
    assert letta.key not in told
    code, told = run("servers", "list", **environment)
    assert code == 0
    assert letta.address in told


def test_a_missing_and_a_wrong_key_are_told_with_the_variable(letta: LettaProcess) -> None:
    for environment, words in (({}, "wants a key, and none is set"), ({"LETTA_API_KEY": "wrong"}, "refuses the key")):
        code, told = run("doctor", LETTA_BASE_URL=letta.address, **environment)
        assert code == 1
        assert words in told
        assert "Set LETTA_API_KEY to the key of this Letta" in told


def test_a_model_that_the_server_has_not_is_told_with_those_it_has(letta: LettaProcess) -> None:
    given = {"LETTA_BASE_URL": letta.address, "LETTA_API_KEY": letta.key, "ATLAS_MODEL": "anthropic:claude-x"}
    code, told = run("doctor", **given)
    assert code == 1
    assert "has no model 'anthropic:claude-x'" in told
    assert "Set LETTA_MODEL to one of: atlas/offline." in told


def test_a_server_that_is_not_there_is_told_and_the_others_are_shown(letta: LettaProcess, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = taken.getsockname()[1]
    home.mkdir()
    (home / "settings.toml").write_text(
        f'[[letta_servers]]\nname = "here"\nbase_url = "{letta.address}"\napi_key = "{letta.key}"\n\n'
        f'[[letta_servers]]\nname = "gone"\nbase_url = "http://127.0.0.1:{gone}"\n'
    )
    code, told = run("doctor")
    assert code == 1
    assert f"the Letta server gone (http://127.0.0.1:{gone})" in told
    assert "Start it, or mend its address" in told
    assert "Letta here" in told
    assert "answers atlas/offline" in told
    assert "Other users can read the keys" in told
    code, told = run("servers", "list")
    assert code == 1
    assert "here" in told
    assert "gone" in told


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("LETTA_BASE_URL", "127.0.0.1:8283", "LETTA_BASE_URL: '127.0.0.1:8283' is not an address like http://"),
        ("LETTA_BASE_URL", "http://me:secret@host", "LETTA_BASE_URL: an address must not hold a key"),
        ("ATLAS_MODEL", "openai:gpt-5", "OPENAI_API_KEY"),
        ("ATLAS_ROSTER", "no-such-roster.toml", "ATLAS_ROSTER"),
    ],
)
def test_what_keeps_atlas_from_opening_is_told_as_well(variable: str, value: str, words: str) -> None:
    code, told = run("doctor", **{variable: value})
    assert code == 1
    assert words in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[letta_servers]]\nname = "a"\nbase_url = "ftp://x"\n', "[[letta_servers]], number 1, base_url"),
        ('[[letta_servers]]\nname = "a b"\nbase_url = "http://x"\n', "[[letta_servers]], number 1, name"),
        ('[[letta_servers]]\nname = "embedded"\nbase_url = "http://x"\n', "is that of the Letta inside ATLAS"),
        ('[[letta_servers]]\nname = "a"\nbase_url = "http://x"\n' * 2, "two servers are called 'a'"),
        ('[[letta_servers]]\nname = "a"\nbase_url = "http://x"\nweight = 0\n', "every server has weight 0"),
        ('letta_base_url = "http://y"\n[[letta_servers]]\nname = "a"\nbase_url = "http://x"\n', "give one of the two"),
        ('letta_base_url = "http://y, http://y/"\n', "one address stands there twice"),
    ],
)
def test_a_mistake_in_the_list_of_servers_is_told_with_its_place(home: Path, text: str, words: str) -> None:
    home.mkdir()
    (home / "settings.toml").write_text(text)
    code, told = run("doctor")
    assert code == 1
    assert words in told
