"""What a team task cites of a file that it read: checked word for word, told with the result, kept with the run."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import ListRootsResult, Root
from pydantic import FileUrl

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel, last_user_text
from tests.server.doors import ERAS, MODERN, call
from tests.teamwork.house import QUOTE, good_answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcp.client import ClientRequestContext

pytestmark = pytest.mark.anyio
pytest_plugins = ["tests.scripted"]

LONGEST_NAME = "\U00020000" * 100  # 400 bytes: more than the name of a file may have
SECONDS = 120
GOAL = "How was the light kept?"
TEXT = f"{QUOTE}\nHe trimmed the wick twice a night."
SAID = "He trimmed the wick twice a night."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "lighthouse"
    made.mkdir()
    (made / "log.txt").write_text(TEXT, encoding="utf-8")
    return made


def offered(request: dict[str, Any]) -> set[str]:
    return {tool["function"]["name"] for tool in request.get("tools", [])}


def works(
    model: ScriptedModel, steps: list[dict[str, Any]], answer: Callable[[str], dict[str, Any]] = good_answer
) -> None:
    """Let whoever may read files and is asked for findings take these steps; everybody else does a decent job."""

    def looks(request: dict[str, Any]) -> bool:
        return 'title="Findings"' in last_user_text(request) and "read_file" in offered(request)

    model.on(looks, [*steps, "I have handed it in."])
    model.on(
        lambda request: 'answer_schema title="' in last_user_text(request),
        {"call": lambda request: {"json": answer(last_user_text(request))}},
    )


def tool(called: str, /, **arguments: Any) -> dict[str, Any]:
    return {"tool": called, "args": arguments}


def findings(*evidence: dict[str, str]) -> dict[str, Any]:
    return tool("submit_result", result={"text": "The wick was trimmed twice a night.", "evidence": [*evidence]})


def evidence(source: str, quote: str) -> dict[str, str]:
    return {"claim": "it was trimmed twice", "source": source, "quote": quote}


def merged(prompt: str) -> dict[str, Any]:
    """The analysts have the work. As the supervisor who merges leaves out all evidence, that of its workers stays."""
    given = good_answer(prompt)
    if "parts" in given:
        return {"parts": [{**part, "team": "analysis"} for part in given["parts"]]}
    return given | {"evidence": []} if "evidence" in given else given


def _sources() -> set[tuple[str, str]]:
    with closing(sqlite3.connect(Path(os.environ["ATLAS_HOME"]) / "atlas.db")) as record:
        return set(record.execute("SELECT name, text FROM source"))


@asynccontextmanager
async def in_memory(roots: Path | None) -> AsyncGenerator[Client]:
    callback = {"list_roots_callback": _telling(roots)} if roots else {}
    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio"), mode=ERAS[MODERN], **callback) as client,
    ):
        yield client


def _telling(folder: Path) -> Any:
    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(folder.as_uri()))])

    return roots


async def ended(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    while run["status"] not in {"completed", "failed", "cancelled"}:
        run = await call(client, "get_run", run_id=run["run_id"], since=10_000, wait_seconds=30)
    assert run["status"] == "completed", run["error"]
    return run["result"]


def use(monkeypatch: pytest.MonkeyPatch, model: ScriptedModel, **more: str) -> None:
    set_ = {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.url, **more}
    for name, value in set_.items():
        monkeypatch.setenv(name, value)


async def test_a_file_below_a_root_of_the_client_is_read_cited_and_told_in_the_result(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel, folder: Path
) -> None:
    use(monkeypatch, scripted_model)
    steps = [
        tool("cite_source", **evidence("lighthouse/log.txt", SAID)),  # before it was read
        tool("read_file", path="lighthouse/log.txt"),
        tool("cite_source", **evidence("lighthouse/log.txt", "He trimmed it thrice.")),
        tool("quote_material", name="lighthouse/log.txt", quote=SAID),
        tool("cite_source", **evidence("Lighthouse/LOG.txt", SAID.upper())),
        tool("save_output", name="notes/../wick?", text=TEXT),
        tool("save_output", name=LONGEST_NAME, text="long"),
        findings(evidence("https://example.org/never-fetched", SAID), evidence("lighthouse/log.txt", "not in it")),
    ]
    works(scripted_model, steps, merged)
    with anyio.fail_after(SECONDS):
        async with in_memory(folder) as client:
            run = await call(client, "run_team_task", goal=GOAL, max_rounds=0, wait_seconds=0)
            result = await ended(client, run)
            saved, long = result["files"]
            kept = await client.read_resource(f"atlas://runs/{run['run_id']}/files/notes%2F..%2Fwick%3F")
            text = Path(saved["path"]).read_text(encoding="utf-8")
            assert Path(long["path"]).read_text(encoding="utf-8") == "long"
            assert _sources() == {("lighthouse/log.txt", TEXT)}
            await call(client, "forget", run_id=run["run_id"], confirm=True)
            assert _sources() == set()
            assert not Path(saved["path"]).parent.exists()
    told = [m["content"] for r in scripted_model.requests for m in r["messages"] if m["role"] == "tool"]
    assert any("no agent of it was given it from outside, so it cannot be cited" in text for text in told)
    assert any("the quote is not in 'lighthouse/log.txt'" in text for text in told)
    assert any('"found": true' in text for text in told)
    [cited] = result["evidence"]
    assert (cited["source"], cited["quote"]) == ("lighthouse/log.txt", SAID)
    assert cited["verified"]["kind"] == "source"
    assert cited["verified"]["fetched_at"]
    reasons = " ".join(m["why"] for m in result["missing"] if m["what"].startswith("evidence"))
    assert "'https://example.org/never-fetched' is no material" in reasons
    assert "the quote is not in 'lighthouse/log.txt': 'not in it'" in reasons
    assert (saved["name"], saved["chars"]) == ("notes/../wick?", len(TEXT))
    assert text == TEXT
    assert Path(saved["path"]).parent == Path(os.environ["ATLAS_HOME"]) / "runs" / run["run_id"]
    assert kept.contents[0].text == TEXT  # type: ignore[union-attr]


async def test_without_a_folder_nobody_is_offered_files(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel
) -> None:
    use(monkeypatch, scripted_model)
    works(scripted_model, [])
    with anyio.fail_after(SECONDS):
        async with in_memory(None) as client:
            material = {"name": "log.txt", "text": TEXT}
            run = await call(client, "run_team_task", goal=GOAL, materials=[material], max_rounds=0, wait_seconds=0)
            result = await ended(client, run)
    assert not any("read_file" in offered(request) for request in scripted_model.requests)
    assert {one["verified"]["kind"] for one in result["evidence"]} == {"material"}
    assert result["files"] == []


async def test_over_stdio_the_settings_folders_and_the_roots_are_open_also_when_the_client_has_gone(
    monkeypatch: pytest.MonkeyPatch, scripted_model: ScriptedModel, folder: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "own.txt").write_text("Oil came by boat.", encoding="utf-8")
    use(monkeypatch, scripted_model, ATLAS_FILES=str(own))
    steps = [
        tool("list_files"),
        tool("read_file", path="lighthouse/log.txt"),
        tool("read_file", path="own/own.txt"),
        findings(evidence("lighthouse/log.txt", SAID), evidence("own/own.txt", "Oil came by boat.")),
    ]
    works(scripted_model, steps, merged)
    scripted_model.hold()
    server = StdioServerParameters(command=sys.executable, args=["-m", "atlas_mcp", "serve"], env={**os.environ})
    with anyio.fail_after(SECONDS):
        async with Client(stdio_client(server), mode=ERAS[MODERN], list_roots_callback=_telling(folder)) as client:
            run = await call(client, "run_team_task", goal=GOAL, max_rounds=0, wait_seconds=0)
        scripted_model.release()
        async with Client(stdio_client(server), mode=ERAS[MODERN]) as client:  # it tells no roots
            result = await ended(client, await call(client, "get_run", run_id=run["run_id"]))
    assert {one["source"] for one in result["evidence"]} == {"lighthouse/log.txt", "own/own.txt"}
    listed = [m["content"] for r in scripted_model.requests for m in r["messages"] if m["role"] == "tool"]
    assert any(json.dumps({"folders": ["own", "lighthouse"]})[:-1] in text for text in listed)
