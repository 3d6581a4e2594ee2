"""One connection to PostgreSQL that is asked from the event loop's own thread, and answers in time or is given up.

A question costs one way to the server and back, in which the loop stands still: for those that are answered at once and
are asked too seldom to be worth a thread. None waits longer than ANSWER_SECONDS, also when the server hangs.
"""

from __future__ import annotations

import selectors
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atlas_mcp.store.postgres import Postgres

ANSWER_SECONDS = 1.0


class BrokenLine(Exception):
    """Raised when the connection is gone, or did not answer in time."""


class Line:
    """An open connection; made in a thread, for connecting takes its time."""

    def __init__(self, database: Postgres) -> None:
        self._connection = database.connect()
        self._pg: Any = self._connection.pgconn
        self._pg.nonblocking = 1
        self._readable = selectors.DefaultSelector()
        self._readable.register(self._pg.socket, selectors.EVENT_READ)

    def ask(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of the answer, as PostgreSQL writes them. BrokenLine, and the connection is closed."""
        from psycopg import Error

        try:
            return self._asked(sql)
        except (Error, OSError, TimeoutError) as error:
            self.close()
            raise BrokenLine(str(error)) from error

    def close(self) -> None:
        """Close the connection; everything that belongs to it is freed."""
        self._readable.close()
        self._connection.close()

    def _asked(self, sql: str) -> list[tuple[str | None, ...]]:
        from psycopg import OperationalError
        from psycopg.pq import ExecStatus

        deadline = time.monotonic() + ANSWER_SECONDS
        self._pg.send_query(sql.encode())
        self._pg.flush()
        while self._pg.is_busy():
            if not self._readable.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")
            self._pg.consume_input()
        result, rows = self._pg.get_result(), list[tuple[str | None, ...]]()
        while result is not None:
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                raise OperationalError(result.error_message.decode(errors="replace").strip())
            rows += [
                tuple(map(_text, (result.get_value(r, c) for c in range(result.nfields))))
                for r in range(result.ntuples)
            ]
            result = self._pg.get_result()
        return rows


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
