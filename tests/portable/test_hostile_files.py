"""A file that is broken or made to do harm is refused with what is wrong, and nothing of it is used."""

from __future__ import annotations

import hashlib
import json
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.constellation import portable_file
from atlas_mcp.constellation.portable_entries import Package
from atlas_mcp.constellation.portable_file import read_package, write_package
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import BrokenPackage, InvalidInput
from tests.portable.conftest import atlas_on, fill

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = "manifest.json"
Files = dict[str, bytes]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.zip"
    write_package(path, Package(roster=load_roster(), tools={"shout": "def shout(): ..."}))
    return path


def unpacked(path: Path) -> tuple[dict[str, Any], Files]:
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(files.pop(MANIFEST)), files


def packed(path: Path, manifest: Any, files: Files, *more: tuple[str, bytes]) -> Path:
    made = path.with_name("made.zip")
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, manifest if isinstance(manifest, bytes | str) else json.dumps(manifest))
        for name, content in (*files.items(), *more):
            archive.writestr(name, content)
    return made


def listed(files: Files) -> list[dict[str, Any]]:
    return [{"name": n, "size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()]


def with_entry(path: Path, name: str, content: bytes) -> Path:
    """The package with that entry, properly listed."""
    manifest, files = unpacked(path)
    files[name] = content
    return packed(path, manifest | {"entries": listed(files)}, files)


def without_manifest(path: Path) -> Path:
    made = path.with_name("made.zip")
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("letter.txt", "hello")
    return made


def manifest_says(**more: Any) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        manifest, files = unpacked(path)
        return packed(path, manifest | more, files)

    return make


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-200])
    return path


def flipped(path: Path) -> Path:
    """One bit of the first entry's stored content."""
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    return path


def changed(path: Path) -> Path:
    manifest, files = unpacked(path)
    files["agents.json"] = b" "
    return packed(path, manifest, files)


def changed_in_length_kept(path: Path) -> Path:
    manifest, files = unpacked(path)
    files["roster.json"] = files["roster.json"].replace(b"librarian", b"burglarsx", 1)
    return packed(path, manifest, files)


def missing(path: Path) -> Path:
    manifest, files = unpacked(path)
    del files["blocks.json"]
    return packed(path, manifest, files)


def dropped(path: Path) -> Path:
    manifest, files = unpacked(path)
    del files["blocks.json"]
    return packed(path, manifest | {"entries": listed(files)}, files)


def stowaway(path: Path) -> Path:
    manifest, files = unpacked(path)
    return packed(path, manifest, files, ("extra.json", b"{}"))


def twice(path: Path) -> Path:
    manifest, files = unpacked(path)
    with pytest.warns(UserWarning, match="Duplicate name"):
        return packed(path, manifest, files, ("agents.json", files["agents.json"]))


def listed_twice(path: Path) -> Path:
    manifest, files = unpacked(path)
    return packed(path, manifest | {"entries": [*manifest["entries"], manifest["entries"][0]]}, files)


def bomb(path: Path) -> Path:
    """An entry that unpacks to far more than the manifest says."""
    manifest, files = unpacked(path)
    files["history.json"] = b" " * 40_000_000 + b"[]"
    return packed(path, manifest, files)


def manifest_bomb(path: Path) -> Path:
    _, files = unpacked(path)
    return packed(path, b" " * 40_000_000 + b"{}", files)


def huge(path: Path) -> Path:
    manifest, files = unpacked(path)
    return packed(path, manifest | {"entries": [e | {"size": 1 << 40} for e in manifest["entries"]]}, files)


def deep(path: Path) -> Path:
    return with_entry(path, "history.json", b"[" * 200_000)


def encrypted(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    where = content.find(b"PK\x01\x02")
    while where >= 0:
        content[where + 8] |= 1
        where = content.find(b"PK\x01\x02", where + 4)
    path.write_bytes(content)
    return path


def run_named(name: str) -> Callable[[Path], Path]:
    now = "2026-01-01T00:00:00Z"
    run = {
        "id": name, "kind": "turn", "status": "completed", "goal": "g", "input": {}, "progress": {}, "usage": {},
        "attempts": 1, "last_seq": 0, "created_at": now, "updated_at": now,
    }  # fmt: skip
    return lambda path: with_entry(path, "runs/one.json", json.dumps(run).encode())


def entry(name: str, value: Any) -> Callable[[Path], Path]:
    return lambda path: with_entry(path, name, json.dumps(value).encode())


BLOCK = {"owner": "*", "label": "project", "limit": 5, "value": "x"}
AT = "2026-01-01T00:00:00Z"
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no export": (without_manifest, "no export of ATLAS"),
    "another format": (manifest_says(format="letta"), "its format is 'letta'"),
    "a manifest that is a list": (lambda p: packed(p, "[1]", unpacked(p)[1]), "no export of ATLAS"),
    "a manifest that is no JSON": (lambda p: packed(p, "{", unpacked(p)[1]), "it is not JSON"),
    "a newer version": (manifest_says(version=2, atlas="9.9.9"), "Import it with ATLAS 9.9.9 or newer"),
    "a version that is none": (manifest_says(version="1"), "its version is '1'"),
    "an unknown field": (manifest_says(sign="x"), "sign: Extra inputs"),
    "cut off": (cut, "no whole zip archive"),
    "damaged": (flipped, "no whole zip archive"),
    "changed": (changed, "agents.json: it has 1 bytes; the manifest says 3"),
    "changed in place": (changed_in_length_kept, "roster.json: its SHA-256 is not that of the manifest"),
    "an entry gone": (missing, "blocks.json: the manifest names it, and it is not there"),
    "an entry left out": (dropped, "blocks.json: it is missing"),
    "an entry too many": (stowaway, "extra.json: the manifest does not name it"),
    "an entry twice": (twice, "agents.json: it is there twice"),
    "an entry listed twice": (listed_twice, "it names an entry twice"),
    "a bomb": (bomb, "history.json: it unpacks to more than"),
    "a bomb of a manifest": (manifest_bomb, "manifest.json: it unpacks to more than"),
    "more than may be": (huge, "unpacks to more than 1,024 MiB"),
    "deeply nested": (deep, "history.json"),
    "encrypted": (encrypted, "encrypted"),
    "a way up": (lambda p: with_entry(p, "../../evil.py", b"x"), "evil.py: a package has no such entry"),
    "a way up among tools": (lambda p: with_entry(p, "tools/../evil.py", b"x"), "a package has no such entry"),
    "an absolute path": (lambda p: with_entry(p, "/etc/passwd", b"x"), "a package has no such entry"),
    "a backslash": (lambda p: with_entry(p, "tools\\evil.py", b"x"), "a package has no such entry"),
    "a tool that is no text": (lambda p: with_entry(p, "tools/x.py", b"\xff"), "it is not text"),
    "a run under another name": (run_named("two"), "it holds the run 'two'"),
    "a run with a path for an id": (run_named("../x"), "id: String should match"),
    "a run that goes on": (entry("runs/x.json", {"id": "x", "status": "working"}), "runs/x.json"),
    "an unknown field of a block": (entry("blocks.json", [BLOCK | {"letta_id": "block-1"}]), "letta_id: Extra inputs"),
    "a block twice": (entry("blocks.json", [BLOCK, BLOCK]), "('*', 'project') is there twice"),
    "a block without its agent": (entry("blocks.json", [BLOCK | {"owner": "nobody"}]), "'nobody'"),
    "an archive without its agent": (entry("archives/nobody.json", []), "agents.json does not have this agent"),
    "an addition that is none": (
        entry("groups.json", {"additions": [{"kind": "agent", "name": "x", "spec": {"name": "x"}, "created_at": AT}]}),
        "additions",
    ),
    "a time without a zone": (
        entry("agents.json", [{"name": "a", "description": "", "system": "", "created_at": "2026-01-01T00:00:00"}]),
        "created_at",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_a_file_that_is_not_what_it_should_be_is_refused_with_the_reason(
    make: Callable[[Path], Path], words: str, whole: Path
) -> None:
    read_package(whole)
    with pytest.raises(BrokenPackage) as refused:
        read_package(make(whole))
    assert words in str(refused.value)


def test_a_file_that_is_no_archive_or_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(BrokenPackage, match="no whole zip archive"):
        read_package(tmp_path / "text.zip")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_package(tmp_path / "nothing.zip")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_package(tmp_path / "no" / "folder.zip", Package(roster=load_roster()))


@pytest.mark.parametrize("at", range(0, 3000, 97))
def test_no_single_changed_byte_goes_unnoticed_or_raises_anything_else(at: int, whole: Path) -> None:
    before = read_package(whole)
    content = bytearray(whole.read_bytes())
    content[at % len(content)] ^= 0xFF
    whole.write_bytes(content)
    with suppress(BrokenPackage):
        assert read_package(whole) == before  # it was a byte of a time stamp, say


def test_equal_packages_have_equal_entries_in_equal_order(tmp_path: Path) -> None:
    package = Package(roster=load_roster(), tools={"b": "x", "a": "y"})
    one, two = (write_package(tmp_path / name, package).entries for name in ("one.zip", "two.zip"))
    assert one == two
    assert portable_file.read_package(tmp_path / "one.zip") == package


@pytest.mark.anyio
@pytest.mark.timeout(120)
async def test_a_broken_file_changes_nothing_of_what_is_there(tmp_path: Path, whole: Path) -> None:
    before, after = tmp_path / "before.zip", tmp_path / "after.zip"
    async with atlas_on(tmp_path / "home") as atlas:
        me = atlas.local_caller()
        await fill(atlas)
        await atlas.portable.export(me, before)
        with pytest.raises(BrokenPackage):
            await atlas.portable.import_(me, changed(whole), replace=True)
        await atlas.portable.export(me, after)
    assert unpacked(after)[1] == unpacked(before)[1]
