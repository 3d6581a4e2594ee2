"""Bytes to text: whatever a page says of its encoding, and whatever it is. Runs in a reader's process.

Promise: never raises, and what comes out can be stored and sent anywhere: no lone surrogates, no control characters but
line breaks and tabs.
"""

from __future__ import annotations

import codecs
import re

_META = re.compile(rb"<meta[^>]{0,300}?charset\s*=\s*[\"']?\s*([a-zA-Z0-9_:.-]{1,40})", re.IGNORECASE)
_META_BYTES = 4_096
_DETECTED_BYTES = 100_000
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_ALIASES = {"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "gb2312": "gbk"}
"""As browsers take them: pages that name the narrower one are in the wider one."""
_LIKE_ASCII = re.compile(r"utf-(?:16|32).*|iso2022_.*|hz")
"""Encodings whose bytes pass for UTF-8 and mean something else."""
_NO_TEXT = re.compile(r"utf-7|idna|punycode|.*escape|undefined|mbcs|oem|charmap")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def decoded(body: bytes, charset: str = "", *, html: bool = False) -> str:
    """The text of these bytes. `charset` is what the header says, if it says something.

    A byte order mark counts most. What is valid UTF-8 is taken as such whatever is declared, for hardly any other text
    is. Then come the header's word, that of the page itself, and what the bytes look like.
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    meta = _META.search(body[:_META_BYTES]) if html else None
    declared = [name for said in (charset, meta[1].decode() if meta else "") if (name := _known(said))]
    special = [name for name in declared if _LIKE_ASCII.fullmatch(name)]
    for name in [*special, "utf-8", *declared]:
        try:
            return body.decode(name)
        except (UnicodeError, ValueError):
            continue
    others = [name for name in declared if name != "utf-8"]
    return body.decode(others[0] if others else _detected(body), "replace")


def plain(text: str) -> str:
    """The text without what cannot be stored or is not seen, with line breaks of one kind and few empty lines."""
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub("[\x0c\x85\u2028\u2029]", "\n", text)
    text = "\n".join(one.rstrip() for one in _CONTROL.sub("", text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def line(text: str, most: int) -> str:
    """The text on one line, `most` characters at the most."""
    return " ".join(plain(text).split())[:most]


def _known(charset: str) -> str:
    """Python's name of that encoding; empty for one that it does not have or that pages are not in."""
    try:
        found = codecs.lookup(charset.strip().strip("\"'"))
    except (LookupError, ValueError):
        return ""
    if not getattr(found, "_is_text_encoding", True) or _NO_TEXT.fullmatch(found.name):
        return ""
    return _ALIASES.get(found.name, found.name)


def _detected(body: bytes) -> str:
    """What the bytes look like: UTF-8 with some that are broken, or another."""
    rough = body.decode("utf-8", "replace")
    broken = rough.count("\ufffd")
    if broken < sum(not c.isascii() for c in rough) - broken:
        return "utf-8"
    from charset_normalizer import from_bytes

    best = from_bytes(body[:_DETECTED_BYTES]).best()
    return best.encoding if best else "cp1252"
