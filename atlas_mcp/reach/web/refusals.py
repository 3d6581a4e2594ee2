"""What it means that a server answered with an error, for an agent that has to go on."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from atlas_mcp.errors import ToolFailed

if TYPE_CHECKING:
    import httpx

    from atlas_mcp.reach.web.address import WebAddress


class Refused(ToolFailed):
    """Raised when a server answered with an error; `status` is which."""

    def __init__(self, message: str, status: int, *, next_step: str) -> None:
        super().__init__(message, next_step=next_step)
        self.status = status


def refused(at: WebAddress, status: int, headers: httpx.Headers) -> Refused:
    """The error that this answer is."""
    try:
        name = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        name = str(status)
    return Refused(f"{at} answered {name}.", status, next_step=_what_next(status, headers))


def _what_next(status: int, headers: httpx.Headers) -> str:
    if status in {404, 410}:
        return "There is no such page; search for where it is now."
    if status in {401, 402, 403, 407, 451}:
        return "It is not open to everybody; use another page."
    if status in {429, 503} and (seconds := retry_after(headers)) is not None:
        return f"It asks to be left alone for {seconds:,} s; use another page meanwhile."
    if status == 429 or status >= 500:
        return "Try once more later, or use another page."
    return "Use another page."


def retry_after(headers: httpx.Headers) -> int | None:
    """In how many seconds the server wants to be asked again, if it says so."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return int(said[:9])
    try:
        when = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0, round((when - datetime.now(UTC)).total_seconds()))
