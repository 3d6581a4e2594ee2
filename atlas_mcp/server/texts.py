"""What holds for every text that a client sends, whatever it is for: it can be written down, and a name is short.

JSON can say half of a surrogate pair, which no file, database or answer can. And only some arguments are texts to be
read; all others are names, ids and choices, which are looked up, compared and said again in answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mcp import MCPError
from mcp.types import INVALID_PARAMS

from atlas_mcp.errors import InvalidInput, OverLimit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

LONGEST_NAME = 4_096
MOST_NAMES = 1_000
READ = frozenset(
    {"answer", "append", "comment", "criteria", "facts", "goal", "materials", "message", "persona", "query"}
    | {"replace", "text", "value"}
)
"""Arguments that are read, each with a limit of its own."""
_NAMING = ("name", "uri", "taskId", "cursor")
_SHOWN = 80


async def named_briefly(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """The middleware that refuses a request whose name or address is none: its answer would say it again, whole."""
    params = cast("Mapping[str, Any]", ctx.params or {})
    reference = params.get("ref")
    for given in (params, cast("Mapping[str, Any]", reference if isinstance(reference, Mapping) else {})):
        try:
            check_texts({name: given[name] for name in _NAMING if isinstance(given.get(name), str)})
        except InvalidInput as error:
            raise MCPError(INVALID_PARAMS, str(error)) from None
    return await call_next(ctx)


def check_texts(given: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a text that cannot be written down, OverLimit for a name that is none."""
    for name, value in given.items():
        if name not in READ:
            _check_names(brief(name), value)
        if not all(map(_writable, (name, *_texts(value)))):
            raise InvalidInput(
                "it has half of a surrogate pair, which is no character.",
                argument=brief(name).encode(errors="backslashreplace").decode() or repr(name),
                next_step="Send it as UTF-8, without \\ud800 to \\udfff alone.",
            )


def _check_names(argument: str, value: Any) -> None:
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise OverLimit(argument, len(value), LONGEST_NAME)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if len(items) > MOST_NAMES:
            raise InvalidInput(f"{len(items):,} of them are too many: the limit is {MOST_NAMES:,}.", argument=argument)
        for number, item in enumerate(items):
            if isinstance(item, str):
                _check_names(f"{argument}.{number}", item)


def brief(text: str, longest: int = _SHOWN) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def _writable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of JSON, its keys too, however deep it is."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            left += cast("list[Any]", one)
        elif isinstance(one, dict):
            left += [part for pair in cast("dict[str, Any]", one).items() for part in pair]
