"""What may come over the wire from another server: how much at once, how often, and what is made of what is broken.

Promise: a message beyond MOST_BYTES, or one that is no message, costs the call that it would have answered, where it
can be told which that is; what it holds is never kept. A server that does not stop talking is cut off.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import mcp_types as types
from mcp.shared.message import SessionMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 4_000_000
"""Of one message."""
MOST_WASTE = 200_000_000
"""Bytes of one message beyond which its server is cut off."""
NO_MESSAGE = "what it answered is no JSON, or no message of MCP"
BURST = 10_000
PER_SECOND = 1_000
_SEEN = 300  # bytes of the beginning and of the end of a message in which its id is looked for
_ID_FIRST = re.compile(rb'^\s*\{(?:(?!"(?:result|error)").)*?"id"\s*:\s*(\d{1,15}|"[^"\\]{1,100}")\s*[,}]', re.DOTALL)
_ID_LAST = re.compile(rb'[,{]\s*"id"\s*:\s*(\d{1,15}|"[^"\\]{1,100}")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class CutOffError(Exception):
    """Raised when a server may not go on talking; the text says what it did."""


class Flow:
    """Counts messages; CutOffError when they come faster than anybody needs."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._at = time.monotonic()

    def count(self) -> None:
        """One more."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * PER_SECOND) - 1
        self._at = now
        if self._left < 0:
            raise CutOffError(f"it sent more than {PER_SECOND:,} messages a second without an end")


class Lines:
    """Takes bytes as they come and gives whole lines; of one that is too long, only its beginning and end."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._end = b""
        self._length = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, int]]:
        """The lines that end in this chunk, each with its full length. CutOffError for one that never ends."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._taken(), self._length
            self._line, self._end, self._length = bytearray(), b"", 0
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._length += len(part)
        if self._length <= MOST_BYTES:
            self._line += part
            return
        if self._length > MOST_WASTE:
            raise CutOffError(f"it sent one message of more than {MOST_WASTE:,} bytes")
        self._end = (self._end + (bytes(self._line[-_SEEN:]) if not self._end else b"") + part)[-_SEEN:]
        del self._line[_SEEN:]

    def _taken(self) -> bytes:
        return bytes(self._line) if self._length <= MOST_BYTES else bytes(self._line) + b"\0" + self._end


def read_line(line: bytes, length: int) -> SessionMessage | None:
    """The message of that line; an error in its stead where it is broken or too long; None where it is no message."""
    if length <= MOST_BYTES:
        try:
            return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            wrong = NO_MESSAGE
    else:
        wrong = f"its answer has {length:,} bytes; the most that is taken is {MOST_BYTES:,}"
    if (request_id := _id_of(line)) is None:
        if length > MOST_BYTES:
            raise CutOffError(f"it sent a message of {length:,} bytes; the most that is taken is {MOST_BYTES:,}")
        return None
    error = types.ErrorData(code=types.PARSE_ERROR, message=wrong)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error))


def _id_of(line: bytes) -> int | str | None:
    """Which request the message answers, as far as its beginning or its end says so beyond doubt."""
    if not line.lstrip().startswith(b"{"):
        return None
    match = _ID_FIRST.match(line[:_SEEN]) or _ID_LAST.search(line[-_SEEN:])
    if match is None:
        return None
    found = match[1].decode(errors="replace")
    return found.strip('"') if found.startswith('"') else int(found)
