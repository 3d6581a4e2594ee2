"""What ATLAS and its Chroma process say to each other: a header in JSON and, where there are numbers, their bytes.

A request has an `id`, and `do` says what is wanted; the answer has the same id, and an `error` with a `problem` where
it could not be done. Passages are 64-bit integers, vectors and distances 32-bit floats, both little-endian.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO, Literal, Protocol

Problem = Literal["refused", "failed", "unwritable", "taken"]
"""`refused`: Chroma does not take what it was given. `failed`: whatever else went wrong. `unwritable`: the files cannot
be written. `taken`: another process has the files."""

_LENGTHS = struct.Struct(">II")
MOST_BYTES = 256 << 20


class Receiver(Protocol):
    """What gives exactly so many bytes."""

    async def receive_exactly(self, nbytes: int) -> bytes:
        """The next so many bytes; an error of anyio's where they do not come."""
        ...


def packed(header: dict[str, Any], numbers: bytes = b"") -> bytes:
    """A message as it is sent."""
    head = json.dumps(header).encode()
    return _LENGTHS.pack(len(head), len(numbers)) + head + numbers


def read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message from a file; None at its end, also in the middle of a message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head, numbers = _LENGTHS.unpack(lengths)
    whole = stream.read(head + numbers)
    return (json.loads(whole[:head]), whole[head:]) if len(whole) == head + numbers else None


async def receive(stream: Receiver) -> tuple[dict[str, Any], bytes]:
    """The next message. ValueError for what is no message."""
    head, numbers = _LENGTHS.unpack(await stream.receive_exactly(_LENGTHS.size))
    if head + numbers > MOST_BYTES:
        raise ValueError("that is no message of the Chroma process")
    whole = await stream.receive_exactly(head + numbers) if head + numbers else b""
    return json.loads(whole[:head]), whole[head:]
