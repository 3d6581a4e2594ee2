"""Every file in tools/ is a payload: one typed function that stands alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.constellation.tool_source import DOORS, INSIDE, read_tool

TOOLS = Path(__file__).parent.parent.parent / "tools"
FILES = sorted(TOOLS.glob("*.py"))


def test_the_folder_is_no_package():
    assert FILES
    assert not (TOOLS / "__init__.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_tool_is_read_and_its_pools_exist(path: Path):
    tool = read_tool(path)
    assert tool.kind == "pure" or tool.kind in INSIDE
    assert set(tool.pools) <= set(pool_matrix().pools)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_tool_imports_inside_of_its_functions_and_nothing_of_ours(path: Path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atlas_mcp"):
            homes = {"run": "atlas_mcp.constellation.run_files", "knowledge": "atlas_mcp.constellation.library"}
            home = homes | dict.fromkeys(DOORS, "atlas_mcp.reach.")
            assert (node.module or "").startswith(home[read_tool(path).kind]), "only for the type of its first argument"
    for node in tree.body:
        if isinstance(node, ast.ImportFrom | ast.Import):
            assert isinstance(node, ast.ImportFrom)
            assert node.module in ("__future__", "typing"), "imports stand inside the function"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_pure_tool_is_one_function_and_its_constants(path: Path):
    if read_tool(path).kind == "pure":
        kinds = [type(node) for node in ast.parse(path.read_text()).body]
        assert kinds == [ast.Expr, ast.Assign, ast.Assign, ast.FunctionDef]
