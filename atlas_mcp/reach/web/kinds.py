"""What kind of thing came: by what the server says it is, and by its first bytes where that says nothing or lies."""

from __future__ import annotations

import re
from email.message import Message
from typing import TYPE_CHECKING

from atlas_mcp.errors import ToolFailed

if TYPE_CHECKING:
    from atlas_mcp.reach.web.page import Kind

_SNIFFED = 1024
_HTML = re.compile(
    rb"\s*+(?:<\?xml[^>]*+>\s*+)?+(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype html|html|head|body|title|script|meta)\b",
    re.IGNORECASE | re.DOTALL,
)
"""What was matched once is not tried anew: a page of nothing but comments would take for ever else."""
_UNSAID = {"", "application/octet-stream", "binary/octet-stream", "application/force-download", "unknown/unknown"}
_TEXTS = {"application/xml", "application/yaml", "application/x-yaml", "application/toml", "application/rtf"}
_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\x00\x00\xfe\xff")
_SEVERAL = re.compile(r"(?i)(?:utf|ucs)-?(?:16|32|2|4)(?:-?[lb]e)?")


def kind_of(content_type: str, body: bytes) -> tuple[Kind, str]:
    """The kind, and the encoding that the header names, if any. ToolFailed, naming the type, for what is not read."""
    message = Message()
    message["content-type"] = content_type[:300]
    said = message.get_content_type() if "/" in content_type else ""
    charset = str(message.get_param("charset") or "")[:40]
    beginning = body[:_SNIFFED]
    if b"%PDF-" in beginning:
        return "pdf", charset
    kind = _said(said, beginning)
    binary = b"\0" in beginning and not beginning.startswith(_BOMS) and not _SEVERAL.fullmatch(charset)
    if kind is None or kind == "pdf" or binary:
        raise ToolFailed(
            f"it is {said or 'of a type that nobody names'}{', by what stands in it' if binary and kind else ''}, and "
            "only HTML, PDF, plain text, Markdown and JSON are read.",
            next_step="Look for a page that has it as text.",
        )
    return kind, charset


def _said(said: str, beginning: bytes) -> Kind | None:
    if said in {"text/html", "application/xhtml+xml"}:
        return "html"
    if said == "application/pdf":
        return "pdf"
    if said in {"text/markdown", "text/x-markdown"}:
        return "markdown"
    if said == "text/json" or re.fullmatch(r"application/(?:.*\+)?json", said):
        return "json"
    if said in _UNSAID:
        return _sniffed(beginning)
    if said.startswith("text/") or said in _TEXTS or said.endswith("+xml"):
        return "text"
    return None


def _sniffed(beginning: bytes) -> Kind | None:
    if _HTML.match(beginning):
        return "html"
    if beginning.startswith(_BOMS):
        return "text"
    if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", beginning):
        return None
    return "json" if re.match(rb"\s*[\[{]", beginning) else "text"
