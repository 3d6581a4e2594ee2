"""How a failure is told to the model: always readable text, never a traceback, a path or a bare exception.

The one place where errors become `ToolError`. What ATLAS refuses keeps its own words; arguments that do not fit are
named one by one; anything else is an unexpected error with a reference under which the server's log has the details.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcp import MCPError
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.types import INVALID_REQUEST
from pydantic import ValidationError

from atlas_mcp.errors import AtlasError, InvalidInput
from atlas_mcp.server.texts import brief

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pydantic_core import ErrorDetails

_LOG = logging.getLogger("atlas.server")
_MOST = 8
_LONGEST = 400
REFUSALS = frozenset({"NotAllowed", "LimitReached"})
"""The kinds of errors by which a caller is kept from what another may do, or may do later."""

_failures: ContextVar[list[str] | None] = ContextVar("failures", default=None)


@contextmanager
def heard() -> Generator[list[str]]:
    """The kinds of the errors that are told while the body runs, in order: never their texts, which may hold input."""
    kinds: list[str] = []
    before = _failures.set(kinds)
    try:
        yield kinds
    finally:
        _failures.reset(before)


def _tell_kind(error: BaseException | None) -> None:
    if (kinds := _failures.get()) is not None and error is not None:
        kinds.append("InvalidInput" if isinstance(error, ValidationError) else type(error).__name__)


def told(tool: str, arguments: Sequence[str], error: ToolError) -> ToolError:
    """The error to send instead of the SDK's: `arguments` are the names that `tool` takes."""
    cause = error.__cause__
    _tell_kind(cause)
    if isinstance(cause, AtlasError):
        return ToolError(str(cause))
    if isinstance(cause, ValidationError) and not isinstance(error, UnexpectedToolError):
        return ToolError(_invalid_arguments(tool, arguments, cause))
    if isinstance(cause, ToolError):
        return ToolError(str(cause))
    reference = secrets.token_hex(4)
    _LOG.error("unexpected error in %s, reference %s", tool, reference, exc_info=cause or error)
    return ToolError(
        f"unexpected error in {tool}: this is a fault of ATLAS, not of your call. "
        f"The server's log (standard error) has the details under reference {reference}; "
        "get_status() says what works and what does not."
    )


def refusal(error: AtlasError) -> dict[str, Any]:
    """The answer of a middleware that lets a tool call go no further, in the form in which it is sent."""
    _tell_kind(error)
    content = [{"type": "text", "text": str(error)}]
    return {"content": content, "isError": True, "resultType": "complete"}


def protocol_refusal(error: AtlasError, **data: Any) -> MCPError:
    """As `refusal`, for a request that is no tool call: an error of the protocol, with what programs can read."""
    _tell_kind(error)
    return MCPError(INVALID_REQUEST, str(error), data or None)


def invalid(error: ValidationError, argument: str | None = None) -> InvalidInput:
    """A model that refused a value, as an InvalidInput that names the argument (or the place within `argument`)."""
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    return InvalidInput(
        f"{first['msg']}.", argument=".".join([argument, *place] if argument else place), next_step="Call again."
    )


def _invalid_arguments(tool: str, arguments: Sequence[str], error: ValidationError) -> str:
    found = error.errors(include_url=False)
    problems = [_problem(detail, arguments) for detail in found[:_MOST]]
    problems += [f"And {len(found) - _MOST} more."] if len(found) > _MOST else []
    return f"{' '.join(problems)} {tool} takes: {', '.join(arguments) or 'no arguments'}. Call it again."


def _problem(detail: ErrorDetails, arguments: Sequence[str]) -> str:
    place = brief(".".join(str(part) for part in detail["loc"]))
    if detail["type"] == "missing":
        return f"{place}: this argument is missing."
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(place, arguments, n=1, cutoff=0.6)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{place}: there is no such argument.{hint}"
    return f"{place}: {brief(detail['msg'], _LONGEST)}; you gave {brief(repr(detail['input']))}."
