"""What a page says: its readable text with title, author, date and links. Runs in a reader's process.

HTML is read by trafilatura, which leaves navigation, advertisements and comments out. A page in which it finds nothing
to read, such as a list, is given with all its words, and so is one that is read without `care`: that takes a tenth of
the time.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin

from atlas_mcp.reach._reader_child import Unreadable
from atlas_mcp.reach.web.texts import decoded, line, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARS = 500_000
MOST_LINKS = 100
_FIELD, _LINK, _ADDRESS = 300, 120, 1_000


def read(body: bytes, *, kind: str, charset: str, address: str, care: bool = True) -> dict[str, Any]:
    """The fields of a `Page` that these bytes make, without its address. Raises Unreadable."""
    if kind == "pdf":
        from atlas_mcp.reach.web.pdf import read_pdf

        found = read_pdf(body, MOST_CHARS)
    elif kind == "html":
        found = _read_html(decoded(body, charset, html=True), address, care)
    else:
        text = decoded(body, charset)
        found = {"text": _indented(text) if kind == "json" else text}
    text = plain(found["text"] or "")
    if not text:
        raise Unreadable(found.get("why_empty") or "there is no text in it")
    cut = found.get("cut", "")
    if len(text) > MOST_CHARS:
        cut = f"only the first {MOST_CHARS:,} of {len(text):,} characters are kept"
    told = {name: line(str(found.get(name) or ""), _FIELD) for name in ("title", "author", "date")}
    return {**told, "kind": kind, "text": text[:MOST_CHARS].rstrip(), "links": found.get("links", []), "cut": cut}


def _indented(text: str) -> str:
    """JSON with line breaks, so that it can be read and quoted; what is not quite JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    except ValueError:
        return text


def _read_html(html: str, address: str, care: bool) -> dict[str, Any]:
    from trafilatura import extract, extract_metadata, html2txt, load_html

    tree: Any = load_html(html)
    if tree is None:  # a piece of a page, which nothing around it says to be one
        html = f"<html><body>{html}</body></html>"
        tree = load_html(html)
    if tree is None:
        return {"text": ""}
    about: dict[str, Any] = {"title": tree.findtext(".//title"), "links": list(_links(tree, address))}
    if not care:
        return {**about, "text": html2txt(html)}
    with contextlib.suppress(Exception):  # what a page says of itself may be of any shape; its text is what counts
        told = extract_metadata(tree, default_url=address, extensive=False)  # no guessing of dates from the text
        about |= {"title": told.title or about["title"], "author": told.author, "date": told.date}
    text = extract(html, output_format="markdown", include_comments=False, include_formatting=False)
    return {**about, "text": text or html2txt(html)}


def _links(tree: Any, address: str) -> Iterator[dict[str, str]]:
    """Where the page leads, each place once; what is in its main part comes first, for navigation is everywhere."""
    base = next((b.get("href") for b in tree.iter("base") if b.get("href")), None)
    base = _joined(address, base) or address
    around = {"nav", "header", "footer", "aside"}
    seen: set[str] = {address}
    later: list[dict[str, str]] = []
    given = 0
    for anchor in tree.iter("a"):
        target = _joined(base, anchor.get("href"))
        text = line("".join(anchor.itertext()), _LINK)
        if not target or not text or target in seen or len(target) > _ADDRESS:
            continue
        seen.add(target)
        link = {"text": text, "address": target}
        if any(parent.tag in around for parent in anchor.iterancestors()):
            later.append(link)
            continue
        yield link
        given += 1
        if given == MOST_LINKS:
            return
    yield from later[: MOST_LINKS - given]


def _joined(base: str, href: str | None) -> str:
    """The whole address of a link, without its fragment; empty for what is none of the web."""
    try:
        target = urldefrag(urljoin(base, href.strip())).url.replace(" ", "%20") if href else ""
    except ValueError:
        return ""
    return target if target.startswith(("http://", "https://")) and target.isprintable() else ""
