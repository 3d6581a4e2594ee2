"""The connectors' tools as their files say them: what a model is told of them, what they do, how much they answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from atlas_mcp.constellation.tool_session import OUTPUT_CHARS
from atlas_mcp.constellation.tool_source import ToolSource, read_tool
from tests.tools.conftest import TOOLS, load

pytestmark = pytest.mark.anyio
OURS = [
    read_tool(path) for kind in ("github", "microsoft", "firecrawl", "tavily") for path in TOOLS.glob(f"{kind}_*.py")
]
WRITE = {"microsoft_create_draft", "microsoft_send_mail", "microsoft_create_event", "microsoft_upload_file"}


class Many:
    """A door that finds far more than a tool may answer."""

    def __getattr__(self, name: str) -> Any:
        async def found(*_: object) -> Any:
            many = [{"cite": f"c{n}", "text": "x" * 500} for n in range(300)]
            if name == "list_folder":
                return {"entries": [one["text"] for one in many], "not_shown": 1}
            return {"total": 300, "results": many} if name in ("search_code", "search_issues") else many

        return found


def test_there_are_as_many_as_the_page_says():
    page = (TOOLS.parent / "docs" / "connectors.md").read_text(encoding="utf-8")
    assert {tool.name for tool in OURS if f"`{tool.name}`" in page} == {tool.name for tool in OURS}
    assert len(OURS) == 17


@pytest.mark.parametrize("tool", OURS, ids=lambda tool: tool.name)
def test_a_tool_says_what_it_does_and_what_each_argument_is(tool: ToolSource):
    assert len(tool.spec.description) > 60
    assert all(said.get("description") for said in tool.spec.parameters["properties"].values())
    assert tool.kind == tool.name.partition("_")[0]
    assert tool.marks == (("write",) if tool.name in WRITE else ("read",))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("github_search_code", {"query": "x"}),
        ("github_search_issues", {"query": "x"}),
        ("github_list_folder", {"repository": "a/b"}),
        ("firecrawl_search_web", {"query": "x"}),
        ("microsoft_search_mail", {}),
        ("microsoft_list_events", {"start": "a", "end": "b"}),
        ("microsoft_search_files", {"query": "x"}),
    ],
)
async def test_what_is_found_is_told_as_far_as_a_tool_may_answer(name: str, arguments: dict[str, str]):
    answer = await load(name)(Many(), **arguments)
    assert 10_000 < len(answer) < OUTPUT_CHARS
    assert json.loads(answer)
