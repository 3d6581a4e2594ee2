"""What agents are given of the user's files: text of every kind, in parts, and of a broken or hostile file a reason."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.files.files import Files
from atlas_mcp.reach.files.places import labelled
from atlas_mcp.reach.readers import Readers
from tests.files import made

if TYPE_CHECKING:
    from pathlib import Path

    from tests.files.conftest import Turn

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
async def test_text_is_read_in_any_encoding(turn: Turn, encoding: str) -> None:
    text = "Die Größe prüfen wir später. Die Straße führt über die Brücke nach Süden, sagte Käthe."
    (turn.docs / "note.txt").write_bytes(text.encode(encoding))
    said = await turn.call("read_file", path="docs/note.txt")
    assert said.startswith(f"[docs/note.txt: characters 0 to {len(text)} of {len(text)}; that is its end]\n")
    assert said.endswith(text)
    assert turn.given == {"docs/note.txt": [text]}


async def test_a_long_file_is_given_in_pieces_that_make_the_whole(turn: Turn) -> None:
    text = "\n".join(f"line {n} of the log" for n in range(3_000))
    (turn.docs / "log.txt").write_text(text)
    start, read = 0, ""
    while True:
        head, _, piece = (await turn.call("read_file", path="docs/log.txt", start=start)).partition("\n")
        read += piece
        if "that is its end" in head:
            break
        start = int(head.split("start=")[1].rstrip("]"))
        read += "\n" * (start - len(read))
    assert read == text
    with pytest.raises(ValueError, match=r"outside of docs/log\.txt"):
        await turn.call("read_file", path="docs/log.txt", start=len(text))


async def test_a_pdf_is_read_from_any_page(turn: Turn) -> None:
    (turn.docs / "report.pdf").write_bytes(made.pdf("The ship left in May.", "It came back in June."))
    whole = await turn.call("read_file", path="docs/report.pdf")
    assert ", from page 1 of 2:" in whole
    assert "left in May" in whole
    second = await turn.call("read_file", path="docs/report.pdf", part="2")
    assert ", from page 2 of 2:" in second
    assert "left in May" not in second
    assert "back in June" in second
    with pytest.raises(ToolFailed, match="it has 2 pages, and no page 3"):
        await turn.call("read_file", path="docs/report.pdf", part="3")
    with pytest.raises(ToolFailed, match="give its number"):
        await turn.call("read_file", path="docs/report.pdf", part="last")


async def test_a_document_is_read_with_its_tables(turn: Turn) -> None:
    (turn.docs / "plan.docx").write_bytes(
        made.docx(["We begin in May.", "Then we rest."], [["who", "what"], ["Ada", "oil"]])
    )
    said = await turn.call("read_file", path="docs/plan.docx")
    assert said.partition("\n")[2] == "We begin in May.\n\nThen we rest.\n\nwho | what\nAda | oil"


async def test_a_spreadsheet_is_read_sheet_by_sheet(turn: Turn) -> None:
    sheets = {"Costs": [["item", "price"], ["oil", 12], ["rope", 3.5]], "Notes": [["nothing"]]}
    (turn.docs / "book.xlsx").write_bytes(made.xlsx(sheets))
    (turn.docs / "sums.ods").write_bytes(made.ods([["a", "b"], ["c", "d"]]))
    said = await turn.call("read_file", path="docs/book.xlsx")
    assert "sheet 'Costs' (others: 'Notes')" in said
    assert said.partition("\n")[2] == "item | price\noil | 12\nrope | 3.5"
    assert (await turn.call("read_file", path="docs/book.xlsx", part="Notes")).endswith("\nnothing")
    assert (await turn.call("read_file", path="docs/sums.ods")).endswith("\na | b\nc | d")
    with pytest.raises(ToolFailed, match="there is no sheet 'Sums'; there are: 'Costs', 'Notes'"):
        await turn.call("read_file", path="docs/book.xlsx", part="Sums")


async def test_a_file_that_is_not_what_its_name_says_costs_an_error(turn: Turn) -> None:
    for name in ("a.docx", "a.xlsx", "a.ods", "a.xls"):
        (turn.docs / name).write_bytes(b"no such thing")
    (turn.docs / "a.pdf").write_bytes(b"%PDF-1.7\nbroken")
    (turn.docs / "photo.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + os.urandom(100))
    for name in ("a.docx", "a.xlsx", "a.ods", "a.xls", "a.pdf", "photo.txt"):
        with pytest.raises(ToolFailed, match=f"docs/{name}: .*"):
            await turn.call("read_file", path=f"docs/{name}")
    (turn.docs / "good.txt").write_text("still here")
    assert (await turn.call("read_file", path="docs/good.txt")).endswith("still here")


async def test_a_zip_bomb_is_not_unpacked(turn: Turn) -> None:
    bomb = made.packed({"word/document.xml": b"\0" * 250_000_000, "[Content_Types].xml": "<Types/>"})
    assert len(bomb) < 1_000_000
    for name in ("bomb.docx", "bomb.xlsx", "bomb.ods"):
        (turn.docs / name).write_bytes(bomb)
        with pytest.raises(ToolFailed, match="unpacked it would have 250,000,"):
            await turn.call("read_file", path=f"docs/{name}")


async def test_a_spreadsheet_that_claims_to_be_endless_is_refused(turn: Turn) -> None:
    near = made.xlsx({"S": [["a"]]})
    with zipfile.ZipFile(io.BytesIO(near)) as pack:
        files: dict[str, str | bytes] = {name: pack.read(name) for name in pack.namelist()}
    page = files["xl/worksheets/sheet1.xml"]
    assert isinstance(page, bytes)
    files["xl/worksheets/sheet1.xml"] = page.replace(
        b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )
    (turn.docs / "far.xlsx").write_bytes(made.packed(files))
    with pytest.raises(ToolFailed, match=r"docs/far\.xlsx"):
        await turn.call("read_file", path="docs/far.xlsx")
    (turn.docs / "near.xlsx").write_bytes(near)
    assert (await turn.call("read_file", path="docs/near.xlsx")).endswith("\na")


async def test_a_list_shows_what_can_be_read_by_name(turn: Turn) -> None:
    (turn.docs / "sub").mkdir()
    (turn.docs / ".git").mkdir()
    for name in ("b.txt", "A.txt", ".env"):
        (turn.docs / name).write_text("x")
    (turn.docs / "link.txt").symlink_to(turn.docs / "b.txt")
    os.mkfifo(turn.docs / "pipe")
    assert json.loads(await turn.call("list_files")) == {"folders": ["docs"], "files": [], "left_out": 0}
    assert json.loads(await turn.call("list_files", folder="docs")) == {
        "folders": ["docs/sub"],
        "files": [{"path": "docs/A.txt", "bytes": 1}, {"path": "docs/b.txt", "bytes": 1}],
        "left_out": 0,
    }


async def test_a_full_folder_is_listed_in_bounds(turn: Turn) -> None:
    for number in range(250):
        (turn.docs / f"{number:03d}-{'x' * 200}.txt").touch()
    said = await turn.call("list_files", folder="docs")
    found = json.loads(said)
    assert len(said) < 20_000
    assert found["files"][0]["path"].startswith("docs/000-")
    assert len(found["files"]) + found["left_out"] == 250


async def test_that_there_are_more_names_than_are_looked_at_is_told(
    turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas_mcp.reach.files.files.MOST_SEEN", 7)
    for folder in ("", "one", "two"):
        (turn.docs / folder).mkdir(exist_ok=True)
        for number in range(4):
            (turn.docs / folder / f"{number}.txt").write_text("oil")
    for words in ("", "oil"):
        found = json.loads(await turn.call("search_files", words=words, limit=30))
        assert "the others were not looked at" in found["note"]
        assert len(found["hits"]) == 8
    assert "note" not in json.loads(await turn.call("search_files", folder="docs/one"))
    assert "note" not in json.loads(await turn.call("list_files", folder="docs"))
    for number in range(4, 6):
        (turn.docs / f"{number}.txt").touch()
    assert "the others were not looked at" in json.loads(await turn.call("list_files", folder="docs"))["note"]


async def test_a_file_that_is_seen_by_two_ways_is_named_by_the_one_it_was_asked_for(turn: Turn, tmp_path: Path) -> None:
    (turn.docs / "sub").mkdir()
    (turn.docs / "sub" / "log.txt").write_text("The lamp was lit.")
    readers = Readers()
    files = Files(tmp_path / "home", readers)
    one, other = labelled([turn.docs]), labelled([turn.docs / "sub"])
    try:
        assert (await files.read("docs/sub/log.txt", one)).path == "docs/sub/log.txt"
        assert (await files.read("sub/log.txt", other)).path == "sub/log.txt"
    finally:
        await readers.close()


async def test_what_is_kept_at_hand_is_bounded_also_of_texts_that_say_nothing(
    turn: Turn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas_mcp.reach.files.files._KEPT_TEXTS", 3)
    readers = Readers()
    files = Files(tmp_path / "home", readers)
    try:
        for number in range(5):
            (turn.docs / f"{number}.txt").write_text("\n" * (number + 1))
            assert (await files.read(f"docs/{number}.txt", labelled([turn.docs]))).text == ""
    finally:
        await readers.close()
    assert len(files._kept) == 3


async def test_files_are_found_by_name_and_by_words_in_the_order_of_their_names(turn: Turn) -> None:
    (turn.docs / "sub").mkdir()
    (turn.docs / "z.txt").write_text("nothing\nThe  Harbour Master wrote\n")
    (turn.docs / "sub" / "a.pdf").write_bytes(made.pdf("the harbour master again"))
    (turn.docs / "b.md").write_text("harbour\nmaster")
    found = json.loads(await turn.call("search_files", words="harbour master"))
    assert found == {
        "hits": [
            {"path": "docs/z.txt", "lines": [{"line": 2, "text": "The Harbour Master wrote"}]},
            {"path": "docs/sub/a.pdf", "lines": [{"line": 1, "text": "the harbour master again"}]},
        ],
        "left_out": 0,
    }
    assert turn.given["docs/z.txt"] == ["The Harbour Master wrote"]
    names = [hit["path"] for hit in json.loads(await turn.call("search_files", name="*.PDF"))["hits"]]
    assert names == ["docs/sub/a.pdf"]
    by_path = json.loads(await turn.call("search_files", name="docs/*.txt", words="harbour"))
    assert [hit["path"] for hit in by_path["hits"]] == ["docs/z.txt"]
    one = json.loads(await turn.call("search_files", words="harbour", limit=1))
    assert ([hit["path"] for hit in one["hits"]], one["left_out"]) == (["docs/b.md"], 2)


async def test_a_file_that_changes_while_it_is_read_is_refused(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas_mcp.reach.files import files

    path = turn.docs / "log.txt"
    path.write_text("first")
    real = files.open_below

    def opened(*given: object) -> int:
        fd = real(*given)  # type: ignore[arg-type]
        path.write_text("changed meanwhile")
        os.utime(path, ns=(1, 1))
        return fd

    before = os.fstat

    def grown(fd: int) -> os.stat_result:
        found = before(fd)
        path.write_text("longer and longer")
        return found

    monkeypatch.setattr(files, "open_below", opened)
    monkeypatch.setattr(files.os, "fstat", grown)
    with pytest.raises(ToolFailed, match="it was changed while it was read"):
        await turn.call("read_file", path="docs/log.txt")


async def test_cancelling_a_reading_ends_it(turn: Turn) -> None:
    (turn.docs / "report.pdf").write_bytes(made.pdf(*(f"page {n}" for n in range(300))))
    with anyio.move_on_after(0):
        await turn.call("read_file", path="docs/report.pdf")
    assert "page 0" in await turn.call("read_file", path="docs/report.pdf")
