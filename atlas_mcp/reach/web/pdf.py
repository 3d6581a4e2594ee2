"""The text of a PDF, page after page. Runs in a reader's process."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from typing import Any

from pypdf import PasswordType, PdfReader
from pypdf.errors import PyPdfError

from atlas_mcp.reach._reader_child import Unreadable

MOST_PAGES = 300
_SECONDS = 12.0
"""For how long pages are read; what was read until then is given."""

logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def read_pdf(body: bytes, most_chars: int, first: int = 1) -> dict[str, Any]:
    """Its text from that page on, how many pages it has, and title, author and date as it says them. Raises
    Unreadable."""
    begun = time.monotonic()
    try:
        reader = PdfReader(io.BytesIO(body), strict=False)
        if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
            raise Unreadable("it is a PDF that is closed with a password")
        pages = len(reader.pages)
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"it is a broken PDF ({type(error).__name__}: {str(error)[:200]})") from None
    texts: list[str] = []
    length = 0
    for number in range(first - 1, min(pages, first - 1 + MOST_PAGES)):
        if length > most_chars or time.monotonic() - begun > _SECONDS:
            break
        texts.append(_page(reader, number))
        length += len(texts[-1])
    last = first - 1 + len(texts)
    cut = "" if last >= pages else f"only pages {first:,} to {last:,} of {pages:,} were read"
    empty = "it is a PDF without text, such as scanned pages"
    return {**_about(reader), "pages": pages, "text": "\n\n".join(texts), "cut": cut, "why_empty": empty}


def _page(reader: PdfReader, number: int) -> str:
    try:
        return reader.pages[number].extract_text()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - one broken page, broken in whatever way, does not cost the others
        return f"[page {number + 1} cannot be read: {type(error).__name__}]"


def _about(reader: PdfReader) -> dict[str, str]:
    """What it says of itself, which may be of any shape; its text is what counts."""
    with contextlib.suppress(Exception):
        if told := reader.metadata:
            date = told.creation_date
            return {"title": told.title or "", "author": told.author or "", "date": f"{date:%Y-%m-%d}" if date else ""}
    return {}
