"""The house keeps its shape: imports run one way, platform calls stand in one file, the wheel holds what it should."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "atlas_mcp"

MODEL = {"model", "errors"}
BELOW_LETTA = MODEL | {"store"}
CONSTELLATION = BELOW_LETTA | {"letta", "memory", "watch", "reach", "guard"}
ALLOWED: dict[str, set[str]] = {
    "model": {"errors"},
    "errors": set(),
    "settings": MODEL,
    "store": MODEL,
    "models": MODEL,
    "embedded": set(),
    "letta": BELOW_LETTA,
    "memory": BELOW_LETTA,
    "watch": BELOW_LETTA,
    "runs": BELOW_LETTA,
    "access": BELOW_LETTA,
    "reach": BELOW_LETTA,
    "guard": BELOW_LETTA,
    "constellation": CONSTELLATION,
    "teamwork": CONSTELLATION | {"constellation", "runs"},
    "server": MODEL | {"atlas"},
    "scenarios": MODEL | {"settings", "atlas", "playing"},
    "cli": MODEL
    | {"settings", "atlas", "attacking", "checkup", "evaluating", "home_care", "playing", "scenarios", "server"}
    | {"tooling"},
}
ROOTS = {
    "atlas",
    "attacking",
    "checkup",
    "evaluating",
    "home_care",
    "playing",
    "_access",
    "_agent_files",
    "_attempts",
    "_auditing",
    "_budgets",
    "_team_tasks",
    "_waiting",
    "_chats",
    "_config",
    "_entering",
    "_evaluations",
    "_facts",
    "_faults",
    "_feedback",
    "_forgetting",
    "_groups",
    "_guard",
    "_health",
    "_history",
    "_leading",
    "_memories",
    "_naming",
    "_news",
    "_optimising",
    "_outputs",
    "_pages",
    "_portable",
    "_prompts",
    "_purse",
    "_purging",
    "_quality",
    "_ratings",
    "_refusing",
    "_reminding",
    "_keeper",
    "_improving",
    "_looking",
    "_looking_context",
    "_reach",
    "_rooms",
    "_run_notes",
    "_status",
    "_survey",
    "_talking",
    "tooling",
    "_tidying",
    "_variants",
}
"""The composition root: every room but server and cli."""

PLATFORM_ONLY = {"fcntl", "msvcrt", "resource", "ctypes", "pwd", "grp", "termios", "pty", "signal"}
PLATFORM_FILE = "store/_platform.py"
HEAVY = [
    "alembic",
    "chromadb",
    "dbos",
    "fastapi",
    "httpcore",
    "httpx",
    "langchain",
    "langchain_core",
    "langgraph",
    "letta_client",
    "lxml",
    "mlflow",
    "neo4j",
    "numpy",
    "onnxruntime",
    "protego",
    "pypdf",
    "redis",
    "sqlalchemy",
    "tokenizers",
    "trafilatura",
]

LATER = [
    "atlas_mcp._chats",
    "atlas_mcp._forgetting",
    "atlas_mcp._portable",
    "atlas_mcp._purging",
    "atlas_mcp._ratings",
    "atlas_mcp._rooms",
    "atlas_mcp._status",
    "atlas_mcp._survey",
    "atlas_mcp._talking",
    "atlas_mcp.guard.again",
    "atlas_mcp.letta.states",
    "atlas_mcp.memory.context",
]
"""Rooms of our own that a first list of tools does not need: with them it came a fifth later."""


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "_tools" not in p.parts)


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here in {"__init__", "__main__"}:
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("atlas_mcp.") and name.count(".") >= 1}
    ours -= {here, "__version__"}
    if here in ROOTS:
        assert not ours & {"server", "cli"}
    else:
        assert ours <= ALLOWED[here], f"{here} imports {sorted(ours - ALLOWED[here])}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_platform_calls_stand_in_one_file(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() == PLATFORM_FILE:
        return
    used = {name.split(".")[0] for name in imports(path)} & PLATFORM_ONLY
    assert not used, f"{sorted(used)} belong into {PLATFORM_FILE}"
    assert "os.fork" not in path.read_text(encoding="utf-8")


def test_a_server_that_lists_its_tools_has_loaded_nothing_heavy() -> None:
    code = f"""
import sys, anyio
from atlas_mcp import create_server, load_settings, open_atlas
async def main():
    async with open_atlas(load_settings()) as atlas:
        assert await create_server(atlas, transport="stdio").list_tools()
anyio.run(main)
print(*sorted(set({HEAVY + LATER!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_langgraph_is_imported_in_teamwork_and_embedded_only() -> None:
    for path in modules():
        if room(path) not in {"teamwork", "embedded"}:
            assert not any(n.split(".")[0] == "langgraph" for n in imports(path)), path


def test_the_environment_is_read_in_settings_only() -> None:
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if room(path) != "settings":
            assert "os.getenv" not in text, path
            assert "BaseSettings" not in text, path


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_has_a_promise_and_fits_in_a_head(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, "one noun a file"
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module's docstring is its promise"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_has_one_top_level_name_and_all_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info/" not in n}
    assert tops == {"atlas_mcp"}
    for source in sorted((ROOT / "tools").glob("*.py")):
        assert f"atlas_mcp/_tools/{source.name}" in names
    for data in PACKAGE.rglob("*"):
        if data.is_file() and "__pycache__" not in data.parts:
            assert f"atlas_mcp/{data.relative_to(PACKAGE).as_posix()}" in names
