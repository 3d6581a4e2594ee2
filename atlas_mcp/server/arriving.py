"""HTTP whose requests must arrive: a client that sends slowly, or not at all, is given up and holds nothing.

uvicorn waits for ever for the rest of a request. Here its head must have come HEAD_SECONDS after the connection or the
request began, and the whole of it within BODY_SECONDS more; else the connection is closed, with status 408 where
nothing was answered yet. Answers, such as streams that stay open, may take as long as they like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

_GIVEN_UP = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_HEAD, _BODY = frozenset({h11.IDLE}), frozenset({h11.SEND_BODY})


class ArrivingProtocol(H11Protocol):
    """uvicorn's, with a time within which a request must arrive."""

    HEAD_SECONDS = 10.0
    BODY_SECONDS = 60.0

    _awaited: frozenset[object] = frozenset()
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first head."""
        super().connection_made(transport)
        self._await(_HEAD)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of what has begun, in the time that it was given when it began."""
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # what cannot be read came while something was being answered
            self.transport.abort()
        state: object = self.conn.their_state
        self._await(_HEAD if state in _HEAD and self._begun() else _BODY if state in _BODY else frozenset())

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._await(frozenset())
        super().connection_lost(exc)

    def _begun(self) -> bool:
        """Whether a part of a head is there, and not only the quiet between two requests."""
        return bool(self.conn.trailing_data[0])

    def _await(self, state: frozenset[object]) -> None:
        if state == self._awaited and self._patience is not None:
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._awaited = state
        if state:
            seconds = self.HEAD_SECONDS if state is _HEAD else self.BODY_SECONDS
            self._patience = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(_GIVEN_UP)
        self.transport.close()
