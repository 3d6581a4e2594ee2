"""GitHub, or a GitHub Enterprise Server: searching code and issues, reading files and issues. https://docs.github.com/rest

Promise: nothing is ever changed there. What the token may not see looks as if it were not there: that is GitHub's way.
Each of GitHub's limits (searching code, searching issues, the rest) is kept apart, so that one that is reached leaves
the others open. GitHub asks no money for a call.
"""

from __future__ import annotations

import base64
import binascii
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.connectors.answer import inner, number_of, objects, text_in
from atlas_mcp.reach.connectors.http import About, Connector, Request, Service, open_service
from atlas_mcp.reach.connectors.stretch import MOST_CHARS, stretch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

VERSION = "2022-11-28"
"""The version of the API that is spoken; the Enterprise Servers in use know it."""
PAGE = 10
MOST_FILE_BYTES = 2_000_000
MOST_COMMENTS = 50
_MOST_ENTRIES = 300
_BODY_CHARS = 800
_MATCHES, _MATCH_CHARS = 3, 400
"""What is shown of a find, so that a page of them is within what a tool may answer."""
_REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_MAY_BE_HIDDEN = "It is not there, or ATLAS_GITHUB_TOKEN may not see it."
_STEPS = {
    401: "Check ATLAS_GITHUB_TOKEN: it is wrong, or has expired.",
    403: "Give ATLAS_GITHUB_TOKEN that permission for the repository, or leave it out.",
    404: _MAY_BE_HIDDEN,
    422: "Ask otherwise; see GitHub's syntax for searching.",
}

Kind = Literal["issue", "pull-request"]


@asynccontextmanager
async def open_door(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Connector]:
    """The door `github`, until the block is left."""
    token = settings.github_token.get_secret_value() if settings.github_token else ""
    about = About("GitHub", settings.github_base_url, "ATLAS_GITHUB_BASE_URL", _STEPS, (token,) if token else ())
    async with open_service(about) as service:
        yield Connector(service, lambda context: GitHub(service, token, context))


class GitHub:
    """The door for one turn: what was read once is not asked for again."""

    def __init__(self, service: Service, token: str, context: CallContext) -> None:
        self._service = service
        self._context = context
        self._headers = {"authorization": f"Bearer {token}", "x-github-api-version": VERSION}
        self._read: dict[str, tuple[str, str]] = {}

    async def search_code(self, query: str, page: int = 1) -> dict[str, Any]:
        """Files that were found, with the lines that fit."""
        told = await self._search("code", query, page, "code_search")
        results: list[dict[str, Any]] = []
        for item in objects(told, "items"):
            cite = f"github:{text_in(inner(item, 'repository'), 'full_name')}/{text_in(item, 'path')}"
            lines = [text_in(match, "fragment")[:_MATCH_CHARS] for match in objects(item, "text_matches")[:_MATCHES]]
            if lines:
                await self._context.found(cite, "\n\n".join(lines), title=text_in(item, "name"))
            results.append({"cite": cite, "address": text_in(item, "html_url"), "matches": lines})
        return _told(told, results, page)

    async def search_issues(self, query: str, kind: Kind = "issue", page: int = 1) -> dict[str, Any]:
        """Issues, or pull requests, that were found, with the beginning of each."""
        told = await self._search("issues", f"{query} is:{kind}", page, "search")
        results: list[dict[str, Any]] = []
        for item in objects(told, "items"):
            repository = text_in(item, "repository_url").rpartition("/repos/")[2]
            cite, body = f"github:{repository}#{number_of(item, 'number')}", text_in(item, "body")[:_BODY_CHARS]
            title = text_in(item, "title")
            await self._context.found(cite, f"{title}\n\n{body}", title=title)
            results.append(
                {
                    "cite": cite,
                    "title": title,
                    "state": text_in(item, "state"),
                    "by": text_in(inner(item, "user"), "login"),
                    "updated": text_in(item, "updated_at"),
                    "comments": number_of(item, "comments"),
                    "text": body,
                }
            )
        return _told(told, results, page)

    async def read_issue(self, repository: str, number: int, start: int = 0, length: int = MOST_CHARS) -> str:
        """A stretch of an issue or a pull request with its comments, the first MOST_COMMENTS of them."""
        path = f"/repos/{_checked(repository)}/issues/{number}"
        if path not in self._read:
            issue = await self._get(path, missing=f"issue {number} in {repository}", needs="issues: read")
            parts = [f"{text_in(issue, 'title')}\n\n{_post(issue)}"]
            if (count := number_of(issue, "comments")) > 0:
                parts += [_post(comment) for comment in await self._comments(path, repository)]
            if count > MOST_COMMENTS:
                parts.append(f"({count - MOST_COMMENTS} more comments are not shown.)")
            await self._keep(path, f"github:{repository}#{number}", "\n\n".join(parts), text_in(issue, "title"))
        return stretch(*self._read[path], start, length)

    async def read_file(
        self, repository: str, path: str, ref: str = "", start: int = 0, length: int = MOST_CHARS
    ) -> str:
        """A stretch of a text file as it is at a branch, tag or commit; without one, at the default branch."""
        key = f"{repository}/{path}@{ref}"
        if key not in self._read:
            found = await self._contents(repository, path, ref)
            if (kind := text_in(found, "type")) != "file":
                raise ToolFailed(f"path: {path!r} is no file there, but a {kind or 'folder'}.")
            text = _text(await self._content(found, repository, path, ref), path)
            cite = f"github:{repository}/{path.strip('/')}" + (f"@{ref}" if ref else "")
            await self._keep(key, cite, text, text_in(found, "name"))
        return stretch(*self._read[key], start, length)

    async def list_folder(self, repository: str, path: str = "", ref: str = "") -> dict[str, Any]:
        """What is in a folder: names, with a slash at those of folders, and files' sizes in bytes."""
        found = await self._contents(repository, path, ref)
        if "entries" not in found:
            raise ToolFailed(f"path: {path!r} is no folder there, but a {text_in(found, 'type') or 'file'}.")
        entries = objects(found, "entries")
        shown = [
            f"{text_in(e, 'name')}/"
            if text_in(e, "type") == "dir"
            else f"{text_in(e, 'name')} ({number_of(e, 'size')})"
            for e in entries[:_MOST_ENTRIES]
        ]
        return {"repository": repository, "path": path, "entries": shown, "not_shown": len(entries) - len(shown)}

    async def _search(self, what: str, query: str, page: int, bucket: str) -> dict[str, Any]:
        params = {"q": query, "per_page": PAGE, "page": max(1, page)}
        accept = {"accept": "application/vnd.github.text-match+json"}
        return await self._service.read(
            Request("GET", f"/search/{what}", params, {**self._headers, **accept}, bucket=bucket)
        )

    async def _get(self, path: str, *, missing: str, needs: str, **params: str) -> dict[str, Any]:
        accept = {"accept": "application/vnd.github.object+json"}
        return await self._service.read(
            Request("GET", path, params, {**self._headers, **accept}, bucket="core", missing=missing, needs=needs)
        )

    async def _contents(self, repository: str, path: str, ref: str) -> dict[str, Any]:
        at = f" at {ref!r}" if ref else ""
        where = _contents_of(repository, path)
        params = {"ref": ref} if ref else {}
        return await self._get(where, missing=f"{path!r} in {repository}{at}", needs="contents: read", **params)

    async def _content(self, found: dict[str, Any], repository: str, path: str, ref: str) -> bytes:
        if (size := number_of(found, "size")) > MOST_FILE_BYTES:
            raise ToolFailed(f"{path} has {size:,} bytes; files of up to {MOST_FILE_BYTES:,} can be read.")
        if text_in(found, "encoding") == "base64":
            try:
                return base64.b64decode(text_in(found, "content"))
            except binascii.Error:
                raise ToolFailed(f"GitHub gave {path} in a form that cannot be read.") from None
        request = Request(  # beyond 1 MB the content is given as it stands only
            "GET",
            _contents_of(repository, path),
            {"ref": ref} if ref else {},
            {**self._headers, "accept": "application/vnd.github.raw+json"},
            bucket="core",
        )
        return (await self._service.ask(request)).content

    async def _comments(self, path: str, repository: str) -> list[dict[str, Any]]:
        request = Request("GET", f"{path}/comments", {"per_page": MOST_COMMENTS}, self._headers, bucket="core")
        return await self._service.read_list(request)

    async def _keep(self, key: str, cite: str, text: str, title: str) -> None:
        await self._context.found(cite, text, title=title)
        self._read[key] = (cite, text)


def _told(told: dict[str, Any], results: list[dict[str, Any]], page: int) -> dict[str, Any]:
    total = number_of(told, "total_count")
    page = max(1, page)
    more = {"next_page": page + 1} if page * PAGE < min(total, 1000) else {}  # GitHub gives 1,000 at most
    partly = {"note": "GitHub ran out of time: there may be more."} if told.get("incomplete_results") else {}
    return {"total": total, "results": results, **more, **partly}


def _post(post: dict[str, Any]) -> str:
    by, at = text_in(inner(post, "user"), "login") or "somebody", text_in(post, "created_at")
    state = f", {text_in(post, 'state')}" if "state" in post else ""
    return f"{by}, {at}{state}:\n{text_in(post, 'body')}"


def _checked(repository: str) -> str:
    if not _REPOSITORY.fullmatch(repository):
        raise ToolFailed(f"repository: {repository!r} is none; give it as owner/name.")
    return repository


def _contents_of(repository: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if {".", ".."} & set(parts):
        raise ToolFailed(f"path: {path!r} has . or .. in it; give it from the repository's root.")
    return "/".join([f"/repos/{_checked(repository)}/contents", *(quote(part, safe="") for part in parts)])


def _text(content: bytes, path: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ToolFailed(f"{path} is not a text.")
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise ToolFailed(f"{path} is kept by Git LFS: only a pointer to it is in the repository.")
    return text
