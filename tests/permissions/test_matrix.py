"""Which agent has which tools: roles, teams, pools, doors that are open, and the user's word on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp._reach import Reach
from atlas_mcp.constellation.library import Library
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.agent import AgentSpec
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.permissions import Permissions, approval_of, rule_for
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.model.turn import ToolSpec
from atlas_mcp.reach.tool import OutsideTool

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.agent import Role
    from atlas_mcp.model.permissions import Approval, Mark

pytestmark = pytest.mark.anyio
SERVICES: dict[str, Any] = {"TAVILY_API_KEY": "k", "github_token": "t"}


def box(home: Path, tools: Path | None = None, **settings: Any) -> Toolbox:
    """One caller's tools with these settings, as they are while the rooms are closed."""
    reach = Reach(Reaching.model_validate(settings), home)
    library = Library(Caller(id="local:me"), record=None)  # pyright: ignore[reportArgumentType]  # nothing is read
    return Toolbox(tools, outside=reach).knowing(library)


def offered(toolbox: Toolbox, role: Role = "worker", team: str | None = "research", **more: Any) -> set[str]:
    agent = AgentSpec(name="ada", role=role, description="d", persona="p", team=team, **more)
    return {spec.name for spec in toolbox.session(agent, None).specs}


def test_a_tool_is_offered_only_where_its_service_is_configured(home: Path) -> None:
    assert "search_web" not in offered(box(home))
    assert "fetch_page" in offered(box(home))
    assert {"search_web", "github_search_code"} <= offered(box(home, None, **SERVICES))


def test_a_team_has_the_pools_of_its_work_and_a_role_no_more_than_it_may_have(home: Path) -> None:
    tools = box(home, None, **SERVICES)
    assert "search_web" not in offered(tools, team="writing")
    assert "github_search_code" in offered(tools, pools=("github",))
    assert "github_search_code" not in offered(tools, role="librarian", team=None, pools=("github",))
    assert offered(tools, role="guest", team=None, pools=("web", "github", "servers", "own", "mail")) == set()


def test_the_users_word_moves_a_tool_to_other_pools_or_takes_it_away(home: Path) -> None:
    moved = box(home, None, **SERVICES, permissions={"tools": {"search_web": {"pools": ["analysis"]}}})
    assert "search_web" not in offered(moved)
    assert "search_web" in offered(moved, team="analysis")
    refused = box(home, None, **SERVICES, permissions={"tools": {"*_web": {"approval": "refuse"}}})
    assert "search_web" not in offered(refused)


def test_a_pool_that_there_is_not_is_told(home: Path) -> None:
    [problem] = box(home, permissions={"tools": {"x_*": {"pools": ["webb"]}}}).problems
    assert "x_*" in problem
    assert "there is no pool webb" in problem


def test_what_another_server_has_is_not_lacking(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(context: Any, arguments: Any) -> str:
        raise AssertionError(arguments)

    spec = ToolSpec(name="library_find", description="d", parameters={})
    tools = (OutsideTool(spec, "library", ("servers",), ("read",), call),)
    monkeypatch.setattr(Reach, "tools", property(lambda _: tools))
    needs = ("library_find", "library_lend")
    agent = AgentSpec(name="ada", role="worker", description="d", persona="p", team="research", needs=needs)
    assert [lack.what for lack in box(home).lacks(agent)] == ["library_lend"]


def test_a_tool_of_ones_own_stands_in_for_a_shipped_one_whose_door_is_closed_and_only_then(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "search_web.py").write_text(
        'KIND = "network"\nPOOLS = ("web",)\ndef search_web(query: str) -> str:\n    "Search."\n    return query\n'
    )
    own = box(home, folder)
    assert own.problems == []
    assert "search_web" in own.own_sources
    assert "search_web" in offered(own)
    both = box(home, folder, **SERVICES)
    assert "there is a tool search_web already" in both.problems[0]
    assert both.own_sources == {}


async def test_where_nobody_can_be_asked_the_call_is_refused_and_how_to_allow_it_is_said(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "wipe.py").write_text('MARKS = ("destroy",)\ndef wipe() -> str:\n    "Wipe."\n    return "gone"\n')
    agent = AgentSpec(name="ada", role="worker", description="d", persona="p", team="research")
    session = box(home, folder).session(agent, None)
    with pytest.raises(ToolFailed, match=r"nobody can be asked here: .* approval = \"allow\" .*permissions\.tools"):
        await session.call("wipe", {})


@pytest.mark.parametrize(
    ("marks", "needs"),
    [(["read"], "allow"), (["write"], "run"), (["read", "spend"], "always"), (["write", "destroy"], "refuse")],
)
def test_a_tool_with_several_marks_is_treated_as_the_strictest_says(marks: list[Mark], needs: Approval) -> None:
    said = Permissions(write="run", spend="always", destroy="refuse")
    assert approval_of(said, marks) == needs


def test_of_several_patterns_the_longest_that_says_a_thing_has_it() -> None:
    tools = {
        "*": {"approval": "refuse"},
        "github_*": {"approval": "ask", "pools": ["github"]},
        "github_search_*": {"marks": ["read"], "approval": "allow"},
    }
    said = Permissions.model_validate({"tools": tools})
    search = rule_for(said, "github_search_code")
    assert (search.approval, search.marks, search.pools) == ("allow", ("read",), ("github",))
    assert rule_for(said, "github_open_issue").approval == "ask"
    assert rule_for(said, "search_web").approval == "refuse"
