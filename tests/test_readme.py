"""What the README and the docs say is so: the tool table, the commands, the links, the settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_mcp.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def between(begin: str, end: str) -> str:
    return README.split(begin, 1)[1].split(end, 1)[0].strip()


def test_the_tool_table_is_the_servers_own() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "atlas_mcp.server.table"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert between("<!-- tool-table -->", "<!-- /tool-table -->") == made


def test_both_commands_stand_in_the_first_screen() -> None:
    first_screen = "\n".join(README.splitlines()[:35])
    assert "atlas-mcp demo" in first_screen
    assert "-m tests" in first_screen


def test_ci_runs_the_readmes_own_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extract = next(line for line in script.splitlines() if line.startswith("command=")).removeprefix("command=$(")[:-1]
    found = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert found
    assert found in README
    assert found.endswith("-m tests")


def test_every_setting_is_in_the_table_and_every_row_is_a_setting() -> None:
    table = README.split("## Configuration", 1)[1].split("\n## ", 1)[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    named: set[str] = set()
    for row in rows:
        names = re.findall(r"`([A-Z0-9_]+)`", row)
        stem = names[0].rsplit("_", 1)[0]
        named |= {names[0], *(stem + n if n.startswith("_") else n for n in names[1:])}
    known = {
        str(field.validation_alias or f"ATLAS_{name.upper()}")
        for name, field in Settings.model_fields.items()
        if name != "provider_keys"
    }
    assert named == known


def test_the_mcp_json_shown_is_the_one_shipped() -> None:
    shipped = json.loads((ROOT / "mcp.json").read_text(encoding="utf-8"))
    shown = json.loads(README.split("```json", 1)[1].split("```", 1)[0])
    assert shipped == shown == {"mcpServers": {"atlas": {"command": "atlas-mcp", "args": ["serve"]}}}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (page.parent / link).exists(), link
