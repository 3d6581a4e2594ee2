"""What a person sees who asks for help: one clear line a command, every option described, completion in every shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.main import get_command

from atlas_mcp.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

COMMAND = [sys.executable, "-m", "atlas_mcp"]
PANELS = ["Start here", "Agents and runs", "Memory", "Watching and improving", "Operating"]
TOP = get_command(app)


def atlas(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "80", **environment},
    )
    assert done.returncode == 0, done
    return done.stdout


def commands(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Every command there is, with the words that lead to it."""
    yield " ".join(path) or "atlas-mcp", command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *path, name)


def test_the_first_page_fits_a_narrow_terminal_and_is_in_groups() -> None:
    lines = atlas("--help").splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert titles == ["Options", *PANELS]
    assert len(lines) < 70
    for name in getattr(TOP, "commands"):  # noqa: B009 - typer's type does not say that it has some
        assert sum(line.startswith(f"│ {name} ") for line in lines) == 1
    described = [line for line in lines[lines.index(next(x for x in lines if PANELS[0] in x)) :] if line[:1] == "│"]
    assert all(line[2] != " " and line.rstrip("│ ").endswith(".") for line in described), "one whole line a command"


@pytest.mark.parametrize(("path", "command"), [*commands(TOP)], ids=lambda value: value if type(value) is str else "")
def test_every_command_and_everything_it_takes_is_described(path: str, command: Any) -> None:
    assert command.help, path
    assert command.help.splitlines()[0].endswith("."), path
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{path}: {parameter.name}"


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default -F _atlas_mcp_completion atlas-mcp"),
        ("zsh", "compdef _atlas_mcp_completion atlas-mcp"),
        ("fish", "complete --command atlas-mcp"),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName atlas-mcp"),
    ],
)
def test_a_shell_is_given_what_completes_the_command(shell: str, words: str) -> None:
    told = atlas("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert words in told
    assert "_ATLAS_MCP_COMPLETE" in told


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_shell_completes_by_it() -> None:
    script = atlas("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    asked = "COMP_WORDS=(atlas-mcp runs pru) COMP_CWORD=2\n_atlas_mcp_completion atlas-mcp\necho ${COMPREPLY[@]}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout.split() == ["prune"]


def test_a_line_is_completed_also_where_stdin_is_no_terminal() -> None:
    given = {"_ATLAS_MCP_COMPLETE": "complete_bash", "COMP_WORDS": "atlas-mcp un", "COMP_CWORD": "1"}
    assert atlas(**given).split() == ["uninstall"]
    given |= {"COMP_WORDS": "atlas-mcp install c", "COMP_CWORD": "2"}
    assert atlas(**given).split() == ["claude-desktop", "claude-code", "cursor"]


def test_help_and_version_load_nothing_of_the_house() -> None:
    """They are asked for by installers and shells, and must not take as long as a server."""
    code = (
        "import sys\nfrom atlas_mcp.cli.app import run\n"
        "run(['--help'])\nrun(['--version'])\n"
        "print(*{'mcp', 'anyio', 'sqlalchemy', 'httpx', 'uvicorn', 'readline'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines()[-1] == ""
