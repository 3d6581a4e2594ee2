"""Nothing outside of the allowed folders is read, whatever the path says and whatever lies below them."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.errors import ConfigurationError, ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.files.door import open_files
from atlas_mcp.reach.files.places import labelled, names_of
from atlas_mcp.store.below import open_below
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from tests.files.conftest import Turn

pytestmark = pytest.mark.anyio
SECRET = "the secret that lies outside"


@pytest.fixture
def outside(turn: Turn) -> Path:
    folder = turn.docs.parent / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    return folder


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("docs/../outside/secret.txt", "'..' is refused"),
        ("../outside/secret.txt", "'..' is refused"),
        ("{outside}/secret.txt", "must not be absolute"),
        ("~/secret.txt", "must not be absolute"),
        ("C:\\outside\\secret.txt", "must not be absolute"),
        ("\\\\server\\share", "must not be absolute"),
        ("outside/secret.txt", "there is no folder 'outside' here. A path begins with one of: 'docs'"),
        ("docs/.env", "hidden"),
        ("docs/.ssh/key", "hidden"),
        ("docs/a\0b", "no name of a file"),
        ("docs/" + "a/" * 40 + "b", "1 to 30 names"),
        ("docs/" + "a" * 2000, "1 to 1,000 characters"),
        ("docs/" + "a" * 300, "docs/aaa"),
        ("docs", "it is a folder"),
        ("  ", "characters"),
        ("docs/missing.txt", "there is no such file"),
        ("docs/note.txt/more", "is no folder"),
    ],
)
async def test_a_path_that_leads_elsewhere_is_refused_with_what_would_be_right(
    turn: Turn, outside: Path, path: str, said: str
) -> None:
    (turn.docs / "note.txt").write_text("x")
    (turn.docs / ".env").write_text(SECRET)
    for tool, argument in (("read_file", "path"), ("list_files", "folder"), ("search_files", "folder")):
        if path in {"docs", "  "} and tool != "read_file":
            continue
        with pytest.raises(ToolFailed) as refused:
            await turn.call(tool, **{argument: path.format(outside=outside)})
        if tool == "read_file":
            assert said in str(refused.value)
        assert str(turn.docs.parent) not in str(refused.value).replace(str(path.format(outside=outside)), "")


async def test_links_are_not_followed_wherever_they_stand_and_lead(turn: Turn, outside: Path) -> None:
    (turn.docs / "own.txt").write_text("own")
    (turn.docs / "file.txt").symlink_to(outside / "secret.txt")
    (turn.docs / "inner.txt").symlink_to(turn.docs / "own.txt")
    (turn.docs / "folder").symlink_to(outside, target_is_directory=True)
    (turn.docs / "loop").symlink_to(turn.docs / "loop")
    for path in ("docs/file.txt", "docs/inner.txt", "docs/folder/secret.txt", "docs/loop"):
        with pytest.raises(ToolFailed, match="links are not followed"):
            await turn.call("read_file", path=path)
    with pytest.raises(ToolFailed, match="links are not followed"):
        await turn.call("list_files", folder="docs/folder")
    assert SECRET not in await turn.call("search_files", words="secret")
    assert "docs/own.txt" in await turn.call("search_files", name="*")


async def test_a_hard_link_is_refused(turn: Turn, outside: Path) -> None:
    os.link(outside / "secret.txt", turn.docs / "hard.txt")
    with pytest.raises(ToolFailed, match="second name"):
        await turn.call("read_file", path="docs/hard.txt")
    assert SECRET not in await turn.call("search_files", words="secret")


async def test_devices_pipes_and_sockets_are_never_opened(turn: Turn) -> None:
    os.mkfifo(turn.docs / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(turn.docs)  # the path of a socket is short
        try:
            listening.bind("talk")
        finally:
            os.chdir(here)
        for name in ("pipe", "talk"):
            with pytest.raises(ToolFailed, match="no regular file"):
                await turn.call("read_file", path=f"docs/{name}")
    assert '"hits": []' in await turn.call("search_files", words="x")


async def test_an_unreadable_file_is_told_and_does_not_end_a_search(turn: Turn) -> None:
    for name in ("closed.txt", "open.txt"):
        (turn.docs / name).write_text("words in it")
    (turn.docs / "closed.txt").chmod(0)
    (turn.docs / "shut").mkdir()
    (turn.docs / "shut" / "in.txt").write_text("words in it")
    (turn.docs / "shut").chmod(0)
    found = await turn.call("search_files", words="words")
    (turn.docs / "shut").chmod(0o700)
    assert "docs/open.txt" in found
    if os.geteuid():  # the superuser reads everything
        assert "closed" not in found
        with pytest.raises(ToolFailed, match="may not be read"):
            await turn.call("read_file", path="docs/closed.txt")


async def test_a_huge_file_is_refused_before_it_is_read(turn: Turn) -> None:
    with (turn.docs / "huge.txt").open("wb") as file:
        file.truncate(40_000_000_000)
    with pytest.raises(ToolFailed, match="it has 40,000,000,000 bytes; at most 30,000,000 are read"):
        await turn.call("read_file", path="docs/huge.txt")


async def test_a_deep_tree_is_walked_no_deeper_than_a_path_may_be(turn: Turn) -> None:
    deep = turn.docs
    for _ in range(40):
        deep /= "d"
        deep.mkdir()
        (deep / "f.txt").write_text("found here")
    hits = await turn.call("search_files", name="f.txt", limit=30)
    assert hits.count("docs/d") == 29 or hits.count('"path"') == 29


def test_a_folder_that_is_swapped_for_a_link_while_it_is_opened_leads_nowhere(tmp_path: Path) -> None:
    """An attacker swaps the folder and the link as fast as he can: every opening gives the inside, or fails."""
    docs, outside = tmp_path / "docs", tmp_path / "outside"
    for folder, text in ((docs / "sub", "inside"), (outside, SECRET)):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(text)
    (docs / "evil").symlink_to(outside, target_is_directory=True)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (docs / "sub").rename(docs / "away")
            (docs / "evil").rename(docs / "sub")
            (docs / "sub").rename(docs / "evil")
            (docs / "away").rename(docs / "sub")

    attacker = threading.Thread(target=swap)
    attacker.start()
    seen: set[str] = set()
    try:
        for _ in range(2_000):
            try:
                fd = open_below(docs, ["sub", "a.txt"])
            except OSError:
                seen.add("refused")
                continue
            with os.fdopen(fd) as file:
                seen.add(file.read())
    finally:
        over.set()
        attacker.join()
    assert SECRET not in seen
    assert "inside" in seen


async def test_the_home_is_closed_also_where_a_folder_above_it_is_allowed(tmp_path: Path) -> None:
    home = tmp_path / "work" / "home"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "http").write_text(SECRET)
    (tmp_path / "work" / "note.txt").write_text("open")

    async def found(name: str, text: str, *, title: str = "") -> None: ...
    async def spent(service: str, usd: float) -> None: ...

    context = CallContext(Caller(id="local:me"), "a", None, found, spent)
    async with open_record(home) as record:
        async with open_files(Reaching(files=(tmp_path / "work",)), record, home) as opener:
            door = opener(context)
            for path in ("work/home", "work/home/keys"):
                with pytest.raises(ToolFailed, match="may not be read"):
                    await door.list(path)
            with pytest.raises(ToolFailed, match="may not be read"):
                await door.read("work/home/keys/http")
            assert (await door.search("", "*", "", 30))["hits"] == [{"path": "work/note.txt"}]
        with pytest.raises(ConfigurationError, match="lies in the home"):
            async with open_files(Reaching(files=(home / "keys",)), record, home):
                pass


async def test_the_settings_folders_are_closed_to_callers_who_do_not_own_the_home(turn: Turn, tmp_path: Path) -> None:
    (turn.docs / "a.txt").write_text("x")
    home = tmp_path / "other"

    async def found(name: str, text: str, *, title: str = "") -> None: ...
    async def spent(service: str, usd: float) -> None: ...

    home.mkdir()
    async with open_record(home) as record, open_files(Reaching(files=(turn.docs,)), record, home) as opener:
        for caller in (Caller(id="key:bob"), Caller(id="login:x:eve", kind="login")):
            with pytest.raises(ToolFailed, match="no folder that you may look into"):
                await opener(CallContext(caller, "a", None, found, spent)).list("")
        own = opener(CallContext(Caller(id="key:http", kind="key"), "a", None, found, spent))
        assert (await own.list(""))["folders"] == ["docs"]


@pytest.mark.parametrize(
    "path",
    [
        "docs\\..\\x",
        "docs\\C:\\x",
        "docs/con",
        "docs/NUL.txt",
        "docs/com1.log",
        "docs/a.txt:stream",
        "docs/a. ",
        "docs/a?",
    ],
)
def test_on_windows_devices_and_streams_are_no_names(path: str) -> None:
    with pytest.raises(ToolFailed):
        names_of(path, windows=True)


def test_on_windows_both_slashes_part_names() -> None:
    assert names_of("docs\\sub/a.txt", windows=True) == ["docs", "sub", "a.txt"]


def test_folders_of_the_same_name_are_told_apart() -> None:
    places = labelled([Path("/a/docs"), Path("/b/docs"), Path("/a/docs"), Path("/c/.cache"), Path("/")])
    assert [one.label for one in places] == ["docs", "docs (2)", "cache", "files"]
