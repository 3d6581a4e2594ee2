"""What it means that a server answered with an error, for an agent that has to go on."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.retry_after import retry_after

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
        return f"It asks to be left alone for {seconds:,.0f} s; use another page meanwhile."
    if status == 429 or status >= 500:
        return "Try once more later, or use another page."
    return "Use another page."
