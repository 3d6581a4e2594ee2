"""How a failure is told to the model: always readable text, never a traceback, a path or a bare exception.

The one place where errors become `ToolError`. What ATLAS refuses keeps its own words; arguments that do not fit are
named one by one; anything else is an unexpected error with a reference under which the server's log has the details.
"""

from __future__ import annotations

import logging
import secrets
from difflib import get_close_matches
from typing import TYPE_CHECKING

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from pydantic import ValidationError

from atlas_mcp.errors import AtlasError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

_LOG = logging.getLogger("atlas.server")
_SHOWN = 80


def told(tool: str, arguments: Sequence[str], error: ToolError) -> ToolError:
    """The error to send instead of the SDK's: `arguments` are the names that `tool` takes."""
    cause = error.__cause__
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


def invalid(error: ValidationError, argument: str | None = None) -> InvalidInput:
    """A model that refused a value, as an InvalidInput that names the argument (or the place within `argument`)."""
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    return InvalidInput(
        f"{first['msg']}.", argument=".".join([argument, *place] if argument else place), next_step="Call again."
    )


def _invalid_arguments(tool: str, arguments: Sequence[str], error: ValidationError) -> str:
    problems = [_problem(detail, arguments) for detail in error.errors(include_url=False)]
    return f"{' '.join(problems)} {tool} takes: {', '.join(arguments) or 'no arguments'}. Call it again."


def _problem(detail: ErrorDetails, arguments: Sequence[str]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{place}: this argument is missing."
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(place, arguments, n=1, cutoff=0.6)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{place}: there is no such argument.{hint}"
    given = repr(detail["input"])
    return f"{place}: {detail['msg']}; you gave {given if len(given) <= _SHOWN else given[:_SHOWN] + '...'}."
