"""What every tool of ours has: strict arguments, a lean schema, honest annotations, and errors that can be read.

An unknown argument is refused instead of dropped. Schemas are as short as they can be, since every client pays for
them in every conversation (see `schemas`).
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import Result, ToolAnnotations
from pydantic import BaseModel

from atlas_mcp.errors import AtlasError
from atlas_mcp.server.asking import NeedsInput
from atlas_mcp.server.errors import told
from atlas_mcp.server.schemas import input_schema, output_schema
from atlas_mcp.server.texts import check_texts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver import Context


class GuardedTool(Tool):
    """A tool whose failures reach the model as text it can act on; nothing else of them leaves the server."""

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:  # the SDK's signature
        try:
            _checked(arguments)
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if isinstance(error.__cause__, NeedsInput):
                return error.__cause__.result
            raise told(self.name, list(self.parameters["properties"]), error) from error.__cause__


def _checked(arguments: dict[str, Any]) -> None:
    try:
        check_texts(arguments)
    except AtlasError as error:
        raise ToolError(str(error)) from error


def define(
    function: Callable[..., Awaitable[Any]],
    *,
    title: str,
    read_only: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
    open_world: bool = False,
    brief: bool = False,
) -> Tool:
    """The function as a tool; its docstring is the description, its annotations the schemas.

    `destructive` means that something is overwritten or ended; `open_world` that a model outside may be asked. Of a
    `read_only` one the protocol asks neither `destructive` nor `idempotent`, and they are not sent. `brief` says
    that the result's schema shows only what is always there.
    """
    _evaluate(function)
    tool = GuardedTool.from_function(
        function,
        title=title,
        description=inspect.getdoc(function),
        structured_output=False,  # made below: the SDK would make the schema of a run anew for each of its tools
        annotations=ToolAnnotations(
            read_only_hint=read_only,
            destructive_hint=None if read_only else destructive,
            idempotent_hint=None if read_only else idempotent,
            open_world_hint=open_world,
        ),
    )
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters = input_schema(tool.parameters | {"additionalProperties": False})
    if (result := _model_given(function)) is not None:
        tool.fn_metadata.output_model = result
        tool.fn_metadata.output_schema = output_schema(_schema_of(result), brief=brief)
    return tool


def _evaluate(function: Callable[..., Awaitable[Any]]) -> None:
    """Evaluate the function's annotations for good: the SDK would do it three times for each tool, and we once more."""
    plain = getattr(function, "__func__", function)
    plain.__annotations__ = get_type_hints(plain, include_extras=True)


def _model_given(function: Callable[..., Awaitable[Any]]) -> type[BaseModel] | None:
    """The model of what the function gives; None for one that gives the protocol's own content."""
    given: Any = inspect.signature(function).return_annotation
    ours = isinstance(given, type) and issubclass(given, BaseModel) and not issubclass(given, Result)
    return cast("type[BaseModel]", given) if ours else None


@cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()
