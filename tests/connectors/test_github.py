"""GitHub, against a loopback server that answers as docs.github.com/rest says of version 2022-11-28."""

from __future__ import annotations

import base64
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import SecretStr

from atlas_mcp.errors import LimitReached, ToolFailed
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.connectors.github import GitHub, open_door
from tests.connectors.loopback import Call, Loopback, Reply, Told, loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
TOKEN = "github_pat_1234567890abcdef"
API = "/api/v3"
FILES = {"README.md": "# Ship\n\nIt sails.\n", "docs/a b.md": "A page.\n", "big.txt": "x" * 1_200_000}
ISSUES = 23


def github_says(call: Call) -> Reply:
    """What GitHub answers, as it documents it; it refuses what it does not document."""
    if "atlas-mcp" not in call.headers.get("user-agent", ""):
        return Reply({"message": "Request forbidden by administrative rules. User-Agent required"}, 403)
    if call.headers.get("authorization") != f"Bearer {TOKEN}":
        return Reply({"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}, 401)
    if call.headers.get("x-github-api-version") != "2022-11-28":
        return Reply({"message": "Not a supported version"}, 400)
    if call.method != "GET" or not call.path.startswith(API + "/"):
        return Reply({"message": "Not Found"}, 404)
    path = call.path.removeprefix(API)
    if path in ("/search/code", "/search/issues"):
        return _search(call, path)
    if path == "/repos/ada/ship/contents" or (path.startswith("/repos/ada/ship/contents/") and path[-1] != "/"):
        return _contents(call, call.place.removeprefix(f"{API}/repos/ada/ship/contents").removeprefix("/"))
    if path.startswith("/repos/ada/ship/issues/"):
        return _issue(call, path.removeprefix("/repos/ada/ship/issues/"))
    return Reply({"message": "Not Found"}, 404)


def _search(call: Call, path: str) -> Reply:
    words = call.query.get("q", "")
    sound = set(call.query) == {"q", "per_page", "page"} and call.headers["accept"].startswith(
        "application/vnd.github.text-match"
    )
    if (
        not sound
        or not words
        or (path == "/search/issues" and " is:issue" not in words and " is:pull-request" not in words)
    ):
        return Reply({"message": "Validation Failed", "errors": [{"code": "missing", "field": "q"}]}, 422)
    page, size = int(call.query["page"]), int(call.query["per_page"])
    if "nothing" in words:
        return Reply({"total_count": 0, "incomplete_results": False, "items": []})
    make = _found_code if path == "/search/code" else _found_issue
    items = [make(number) for number in range(1, ISSUES + 1)][(page - 1) * size : page * size]
    return Reply({"total_count": ISSUES, "incomplete_results": "slow" in words, "items": items})


def _found_code(number: int) -> dict[str, Any]:
    fragment = f"def sail_{number}():\n    return {number}"
    return {
        "name": f"m{number}.py",
        "path": f"src/m{number}.py",
        "sha": "d7212f9dee2dcc18f084d7df8f417b80846ded5a",
        "html_url": f"https://github.com/ada/ship/blob/main/src/m{number}.py",
        "repository": {"id": 1, "name": "ship", "full_name": "ada/ship", "private": True},
        "score": 1.0,
        "text_matches": [
            {"object_type": "FileContent", "property": "content", "fragment": fragment, "matches": [{"text": "sail"}]}
        ],
    }


def _found_issue(number: int) -> dict[str, Any]:
    return {
        "number": number,
        "title": f"Leak {number}",
        "state": "open",
        "user": {"login": "grace"},
        "body": "Water comes in." + " and in" * 500,
        "comments": 1,
        "html_url": f"https://github.com/ada/ship/issues/{number}",
        "repository_url": "https://ghe.example/api/v3/repos/ada/ship",
        "created_at": "2026-05-01T08:00:00Z",
        "updated_at": "2026-05-02T08:00:00Z",
    }


def _contents(call: Call, path: str) -> Reply:
    if call.query.get("ref", "main") not in ("main", "v1.0"):
        return Reply({"message": "No commit found for the ref"}, 404)
    if call.headers["accept"] == "application/vnd.github.raw+json" and path in FILES:
        return Reply(FILES[path].encode(), headers={"content-type": "application/vnd.github.raw+json"})
    if call.headers["accept"] != "application/vnd.github.object+json":
        return Reply({"message": "wrong media type"}, 415)
    if path in ("", "docs"):
        entries = [{"type": "file", "name": "README.md", "size": 18}, {"type": "dir", "name": "docs", "size": 0}]
        return Reply({"type": "dir", "name": path, "path": path, "entries": entries})
    if path == "lib":
        return Reply({"type": "submodule", "name": "lib", "path": "lib", "size": 0})
    if path == "logo.png":
        return _file(path, b"\x89PNG\r\n\x00\xff")
    if path == "film.mp4":
        return _file(path, b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    if path == "huge.bin":
        return Reply({"type": "file", "encoding": "none", "size": 90_000_000, "name": path, "content": ""})
    if path not in FILES:
        return Reply({"message": "Not Found", "status": "404"}, 404)
    return _file(path, FILES[path].encode())


def _file(path: str, content: bytes) -> Reply:
    told = {"type": "file", "name": path.rpartition("/")[2], "path": path, "size": len(content), "sha": "3d21ec53"}
    if len(content) > 1_000_000:  # as documented: beyond 1 MB the content is empty and the encoding "none"
        return Reply({**told, "encoding": "none", "content": ""})
    return Reply({**told, "encoding": "base64", "content": base64.encodebytes(content).decode()})


def _issue(call: Call, rest: str) -> Reply:
    if rest == "7":
        return Reply({**_found_issue(7), "body": "Water comes in.", "comments": 61})
    if rest == "7/comments" and call.query == {"per_page": "50"}:
        at = "2026-05-03T08:00:00Z"
        comments = [{"user": {"login": "alan"}, "created_at": at, "body": f"Bail {n}."} for n in range(50)]
        return Reply(comments, headers={"link": '<https://ghe.example/api/v3/x?page=2>; rel="next"'})
    return Reply({"message": "Not Found", "status": "404"}, 404)


@asynccontextmanager
async def github(token: str = TOKEN) -> AsyncIterator[tuple[GitHub, Loopback, Told]]:
    """A GitHub Enterprise Server: its API stands below a path."""
    async with loopback() as server:
        server.answers(github_says)
        made = Reaching(github_token=SecretStr(token), github_base_url=server.url + API)
        told = Told()
        async with open_door(made, cast("Any", None), Path()) as door:
            yield cast("GitHub", door(told.context)), server, told


async def test_code_is_found_page_by_page_and_cited_by_repository_and_path():
    async with github() as (it, server, told):
        first = await it.search_code("sail repo:ada/ship")
        assert first["total"] == ISSUES
        assert first["results"][0] == {
            "cite": "github:ada/ship/src/m1.py",
            "address": "https://github.com/ada/ship/blob/main/src/m1.py",
            "matches": ["def sail_1():\n    return 1"],
        }
        assert (len(first["results"]), first["next_page"]) == (10, 2)
        last = await it.search_code("sail repo:ada/ship", 3)
        assert (len(last["results"]), last.get("next_page")) == (3, None)
        assert told.found[0] == ("github:ada/ship/src/m1.py", "def sail_1():\n    return 1", "m1.py")
        assert server.calls[0].query["q"] == "sail repo:ada/ship"


async def test_issues_and_pull_requests_are_found_apart():
    async with github() as (it, server, told):
        found = await it.search_issues("leak")
        assert found["results"][0]["cite"] == "github:ada/ship#1"
        assert len(found["results"][0]["text"]) == 800
        assert told.names[0] == "github:ada/ship#1"
        await it.search_issues("leak", "pull-request")
        assert [call.query["q"] for call in server.calls] == ["leak is:issue", "leak is:pull-request"]


async def test_nothing_found_is_no_error_and_what_was_cut_short_is_told():
    async with github() as (it, _, _):
        assert await it.search_code("nothing") == {"total": 0, "results": []}
        assert "there may be more" in (await it.search_code("slow"))["note"]


async def test_a_file_is_read_at_a_ref_and_kept_for_quoting():
    async with github() as (it, server, told):
        assert (await it.read_file("ada/ship", "README.md")).endswith("that is its end]\n# Ship\n\nIt sails.\n")
        assert (await it.read_file("ada/ship", "/docs/a b.md", "v1.0")).startswith("[github:ada/ship/docs/a b.md@v1.0:")
        assert server.calls[1].path == f"{API}/repos/ada/ship/contents/docs/a%20b.md"
        assert told.found[0] == ("github:ada/ship/README.md", FILES["README.md"], "README.md")


async def test_a_large_file_is_read_in_stretches_and_asked_for_once():
    async with github() as (it, server, _):
        assert (await it.read_file("ada/ship", "big.txt")).startswith(
            "[github:ada/ship/big.txt: characters 0 to 12000 of 1200000; more follows: start=12000]"
        )
        await it.read_file("ada/ship", "big.txt", start=12_000)
        assert [call.headers["accept"] for call in server.calls] == [
            "application/vnd.github.object+json",
            "application/vnd.github.raw+json",
        ]


async def test_a_folder_is_listed():
    async with github() as (it, _, _):
        assert (await it.list_folder("ada/ship"))["entries"] == ["README.md (18)", "docs/"]


async def test_an_issue_is_read_with_its_comments_as_far_as_they_are_given():
    async with github() as (it, _, told):
        text = await it.read_issue("ada/ship", 7)
        assert "Leak 7\n\ngrace, 2026-05-01T08:00:00Z, open:\nWater comes in." in text
        assert "alan, 2026-05-03T08:00:00Z:\nBail 49." in text
        assert "(11 more comments are not shown.)" in text
        assert told.names == ["github:ada/ship#7"]


@pytest.mark.parametrize(
    ("path", "told_of"),
    [
        ("gone.md", "has no 'gone.md' in ada/ship: Not Found. It is not there, or ATLAS_GITHUB_TOKEN may not see it"),
        ("docs", "is no file there, but a dir"),
        ("lib", "is no file there, but a submodule"),
        ("logo.png", "logo.png is not a text"),
        ("film.mp4", "only a pointer to it is in the repository"),
        ("huge.bin", "has 90,000,000 bytes; files of up to 2,000,000 can be read"),
        ("../../../user", "has . or .. in it"),
    ],
)
async def test_what_is_no_text_file_is_told(path: str, told_of: str):
    async with github() as (it, _, told):
        with pytest.raises(ToolFailed, match=told_of):
            await it.read_file("ada/ship", path)
        assert told.found == []


@pytest.mark.parametrize("repository", ["ship", "ada/ship/x", "ada/..", "../user", "ada/ship?x=1", ""])
async def test_what_names_no_repository_is_not_sent(repository: str):
    async with github() as (it, server, _):
        with pytest.raises(ToolFailed, match="give it as owner/name"):
            await it.read_file(repository, "README.md")
        assert server.calls == []


async def test_a_wrong_token_names_the_setting_and_not_itself():
    async with github("github_pat_wrong") as (it, _, _):
        with pytest.raises(ToolFailed) as raised:
            await it.search_code("x")
    assert "Bad credentials. Check ATLAS_GITHUB_TOKEN" in str(raised.value)
    assert "github_pat_wrong" not in str(raised.value)


async def test_a_missing_permission_is_named():
    async with github() as (it, server, _):
        server.now = [Reply({"message": "Resource not accessible by personal access token"}, 403)]
        with pytest.raises(ToolFailed, match=r"It takes the permission contents: read. Give ATLAS_GITHUB_TOKEN that"):
            await it.read_file("ada/ship", "README.md")


async def test_a_query_that_github_does_not_understand_is_told():
    async with github() as (it, _, _):
        with pytest.raises(ToolFailed, match=r"status 422: Validation Failed. Ask otherwise"):
            await it.search_code("")


async def test_a_primary_limit_closes_its_own_kind_of_search_until_it_is_over():
    async with github() as (it, server, _):
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 50)}
        server.now = [Reply({"message": "API rate limit exceeded for user ID 1."}, 403, headers)]
        with pytest.raises(LimitReached) as raised:
            await it.search_code("x")
        assert 40 < raised.value.retry_after <= 50
        with pytest.raises(LimitReached):
            await it.search_code("x")
        assert len(server.calls) == 1
        assert (await it.search_issues("x"))["total"] == ISSUES


@pytest.mark.parametrize("headers", [{}, {"retry-after": "60"}])
async def test_a_secondary_limit_is_told_as_one_of_at_least_a_minute(headers: dict[str, str]):
    async with github() as (it, server, _):
        message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        server.now = [Reply({"message": message}, 403, headers)]
        with pytest.raises(LimitReached) as raised:
            await it.read_file("ada/ship", "README.md")
        assert 55 < raised.value.retry_after <= 60


async def test_a_repository_that_was_renamed_is_still_found():
    async with github() as (it, server, _):
        server.now = [
            Reply({"message": "Moved"}, 301, {"location": f"{server.url}{API}/repos/ada/ship/contents/README.md"})
        ]
        assert "It sails." in await it.read_file("ada/boat", "README.md")


async def test_broken_content_is_told():
    async with github() as (it, server, _):
        server.now = [Reply({"type": "file", "encoding": "base64", "size": 3, "content": "a"})]
        with pytest.raises(ToolFailed, match="in a form that cannot be read"):
            await it.read_file("ada/ship", "README.md")
