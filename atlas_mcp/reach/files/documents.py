"""The text of a file: of plain text in whatever encoding, PDF, docx, and spreadsheets. Runs in a reader's process.

Promise: gives the text, or raises Unreadable with a reason. What is packed is looked at before it is unpacked: one that
would become too large is refused by what its own directory says, beyond which nothing is unpacked.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

from atlas_mcp.reach._reader_child import Unreadable
from atlas_mcp.reach.web.texts import decoded, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARS = 2_000_000
_UNPACKED = 200_000_000
_ENTRIES = 10_000
_CELLS = 2_000_000


def read(body: bytes, *, kind: str, part: str = "") -> dict[str, Any]:
    """Its `text`, `title`, the `part` that it is, `parts` that there are, and what was `cut`.

    `part` is a page of a PDF, from which on it is read, or a sheet's name; empty for the first.
    """
    if kind == "pdf":
        return _pdf(body, part)
    if kind == "docx":
        _check_packed(body)
        return _made(_words(body))
    if kind == "sheet":
        if body.startswith(b"PK"):
            _check_packed(body)
        return _sheet(body, part)
    return _made(plain(decoded(body)))


def _made(text: str, **more: Any) -> dict[str, Any]:
    cut = "" if len(text) <= MOST_CHARS else f"only its first {MOST_CHARS:,} characters can be read"
    return {"text": text[:MOST_CHARS], "title": "", "part": "", "parts": [], "cut": cut, **more}


def _check_packed(body: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise Unreadable(f"it is broken: {str(error)[:200]}") from None
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _ENTRIES or size > _UNPACKED:
        raise Unreadable(f"unpacked it would have {size:,} bytes in {len(entries):,} parts, which is too much")


def _pdf(body: bytes, part: str) -> dict[str, Any]:
    from atlas_mcp.reach.web.pdf import read_pdf

    if part and not part.isdecimal():
        raise Unreadable(f"part: {part!r} is no page of it: give its number, such as 3")
    first = max(1, int(part or 1))
    found = read_pdf(body, MOST_CHARS, first=first)
    if first > found["pages"]:
        raise Unreadable(f"part: it has {found['pages']:,} pages, and no page {first:,}")
    text = plain(found["text"])
    if not text:
        raise Unreadable(found["why_empty"])
    title = str(found.get("title") or "")[:300]
    return _made(text, title=title, part=str(first), parts=[str(found["pages"])], cut=found["cut"])


def _words(body: bytes) -> str:
    from docx import Document
    from docx.table import Table

    try:
        document = Document(io.BytesIO(body))
        blocks = (
            _rows([[cell.text for cell in row.cells] for row in block.rows]) if isinstance(block, Table) else block.text
            for block in document.iter_inner_content()
        )
        text = plain("\n\n".join(_until(blocks)))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the library raises of a stranger's file
        raise Unreadable(f"it is no docx that can be read ({type(error).__name__}: {str(error)[:200]})") from None
    if not text:
        raise Unreadable("it is a document without text")
    return text


def _sheet(body: bytes, part: str) -> dict[str, Any]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(body))
        names = list(book.sheet_names)
    except (CalamineError, ValueError, OSError) as error:
        raise Unreadable(f"it is no spreadsheet that can be read: {str(error)[:200]}") from None
    if not names:
        raise Unreadable("it is a spreadsheet without sheets")
    name = part or names[0]
    if name not in names:
        shown = ", ".join(map(repr, names[:30]))
        raise Unreadable(f"part: there is no sheet {name[:100]!r}; there are: {shown}")
    try:
        sheet = book.get_sheet_by_name(name)
        if sheet.total_height * sheet.total_width > _CELLS:
            raise Unreadable(
                f"the sheet {name!r} has {sheet.total_height:,} rows of {sheet.total_width:,} cells, which is too much"
            )
        rows = sheet.to_python(skip_empty_area=True)
    except CalamineError as error:
        raise Unreadable(f"the sheet {name!r} cannot be read: {str(error)[:200]}") from None
    return _made(plain("\n".join(_until(_row(row) for row in rows))), part=name, parts=names)


def _until(texts: Iterator[str]) -> Iterator[str]:
    """The texts until there are enough of them."""
    length = 0
    for text in texts:
        yield text
        length += len(text)
        if length > MOST_CHARS:
            return


def _rows(rows: list[list[str]]) -> str:
    return "\n".join(_row(row) for row in rows)


def _row(cells: list[Any]) -> str:
    return " | ".join(_cell(cell) for cell in cells)


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).split())
