"""`atlas-mcp prompts`: what it shows and changes, and how a mistake is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.atlas import open_prompts
from atlas_mcp.cli.app import run
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.prompts import rows
from atlas_mcp.watch.sidecar import child_environment
from tests.watch.conftest import carry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)
READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
versions = client.search_prompt_versions("persona.strategist")
in_use = client.get_prompt_version_by_alias("persona.strategist", "production")
print(json.dumps([len(versions), in_use.template]))
"""
BETTER = "I plan, and I say by which figures."


def propose(text: str, name: str = "persona.strategist") -> None:
    async def keep() -> None:
        async with open_prompts(load_settings()) as prompts:
            present = await prompts.present(name)
            evidence = {"pieces": 3}
            async with prompts.record.write(rows.WRITER) as db:
                await rows.keep(db, name, text, "optimised", parent=present.version, evidence=evidence)

    anyio.run(keep)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["prompts", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def row_of(listed: str, name: str) -> list[str]:
    return next(line.split() for line in listed.splitlines() if line.split()[:1] == [name])


def test_a_version_is_listed_shown_compared_promoted_and_taken_back(capsys: pytest.CaptureFixture[str]) -> None:
    code, listed, _ = told(capsys, "list")
    assert code == 0
    assert row_of(listed, "persona.strategist")[1:] == ["file", "-", "-"]
    assert row_of(listed, "task.plan")[1:] == ["file", "-", "-"]
    propose(BETTER)
    assert row_of(told(capsys, "list")[1], "persona.strategist")[1:4] == ["file", "1", "2"]
    _, shown, _ = told(capsys, "show", "strategist", "--version", "2")
    assert "persona.strategist, version 2, optimised from version 1" in shown
    assert '"pieces": 3' in shown
    assert BETTER in shown
    assert f"+{BETTER}" in told(capsys, "diff", "strategist", "1", "2")[1]
    assert "They are the same." in told(capsys, "diff", "strategist", "2", "2")[1]
    assert "version 2 leads from now on" in told(capsys, "promote", "strategist", "2")[1]
    assert row_of(told(capsys, "list")[1], "persona.strategist")[1:4] == ["version", "2", "2"]
    assert BETTER in told(capsys, "show", "strategist")[1]
    assert "its file leads from now on" in told(capsys, "rollback", "strategist")[1]
    assert row_of(told(capsys, "list")[1], "persona.strategist")[1:4] == ["file", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rollback", "strategist"], "nothing was promoted of persona.strategist: its file leads"),
        (["promote", "strategist", "7"], "persona.strategist has no version 7; it has none yet"),
        (["show", "task.pln"], "there is no prompt 'task.pln'. Did you mean 'task.plan'?"),
        (["optimize", "strategist"], "the offline model is none. Set ATLAS_MODEL to provider:name"),
        (["optimize", "strategist", "--budget-usd", "0"], "--budget-usd: nothing is to be had for that"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = told(capsys, *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_mlflows_registry_has_every_version_once_and_says_which_leads(home: Path) -> None:
    propose(BETTER)
    assert run(["prompts", "promote", "strategist", "2"]) == 0
    assert registered(home) == (2, BETTER)
    assert run(["prompts", "rollback", "strategist"]) == 0
    assert registered(home) == (2, load_roster().agent("strategist").persona)


def registered(home: Path) -> tuple[int, str]:
    """What MLflow has of the persona, once all that waits was taken there: how many versions, and the text in use."""
    done = carry(home)
    assert done.returncode == 0, done.stderr
    read = [sys.executable, "-c", READ, f"sqlite:///{home / 'mlflow.db'}"]
    found = subprocess.run(read, env=child_environment(), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    count, text = json.loads(found.stdout)
    return count, text
