"""What came over the wire, unpacked: never more than was asked for, however small it came.

Only what Python itself unpacks within a limit is asked for: gzip and deflate.
"""

from __future__ import annotations

import zlib

from atlas_mcp.errors import ToolFailed

ACCEPTED = "gzip, deflate"
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 16_384
_MEMBERS = 1_000
"""A gzip file may have several members, and each takes a time of its own, however small it is."""


class TooLarge(Exception):
    """Raised when more would come out than may; `beginning` is as much of it as may."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__()
        self.beginning = beginning


def unpacked(raw: bytes, encoding: str, most: int) -> bytes:
    """The bytes that were packed as the header Content-Encoding says.

    Raises TooLarge when they are more than `most`, ToolFailed for another encoding or a broken one.
    """
    names = [name for part in encoding.lower().split(",") if (name := part.strip()) not in {"", "identity"}]
    if not names:
        return raw
    if names not in (["gzip"], ["x-gzip"], ["deflate"]):
        raise ToolFailed(f"it was sent packed as {encoding[:60]!r}, which was not asked for and is not unpacked.")
    try:
        return _inflated(raw, names[0], most)
    except zlib.error as error:
        raise ToolFailed(f"it was sent packed as {names[0]} and cannot be unpacked ({error}).") from None


def _inflated(raw: bytes, name: str, most: int) -> bytes:
    window = zlib.MAX_WBITS if name == "deflate" else _GZIP
    if name == "deflate" and not _has_zlib_header(raw):
        window = -zlib.MAX_WBITS  # many servers send the bare stream under that name
    content = bytearray()
    at, members, stream = 0, 1, zlib.decompressobj(window)
    while at < len(raw) and not stream.eof:
        piece = raw[at : at + _PIECE]
        content += stream.decompress(piece, most + 1 - len(content))
        if len(content) > most:
            raise TooLarge(bytes(content[:most]))
        at += len(piece) - len(stream.unused_data)
        if stream.eof and window == _GZIP and raw[at : at + 1].strip(b"\0"):  # zeros at the end only fill it up
            members, stream = members + 1, zlib.decompressobj(window)
            if members > _MEMBERS:
                raise zlib.error(f"it has more than {_MEMBERS:,} parts")
    if raw and not stream.eof:
        raise zlib.error("it ends too early")
    return bytes(content)


def _has_zlib_header(raw: bytes) -> bool:
    return len(raw) > 1 and raw[0] & 0x0F == 8 and (raw[0] << 8 | raw[1]) % 31 == 0
