"""JSON Schemas made short, for every client reads all of them in every conversation.

What is left says the same of every valid value: names, types, choices and descriptions. Output schemas allow fields
that later versions may add, and leave out bounds that only matter on the way in, and what is required: results have
every field.
"""

from __future__ import annotations

from typing import Any, cast

_NOISE_IN = frozenset({"discriminator", "title"})  # what a discriminator says, each choice's constant says too
_NOISE_OUT = _NOISE_IN | {
    "additionalProperties", "default", "format", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum",
}  # fmt: skip
_NOISE_BRIEF = _NOISE_OUT | {"description", "enum"}
_OF_A_MODEL = frozenset({"description", "required"})  # its own docstring; a result has every field
_NULL = {"type": "null"}
_ALL = 99

Schema = dict[str, Any]


def input_schema(schema: Schema) -> Schema:
    """The arguments' schema without generated titles, with every model in the place where it is meant."""
    short = _lean(schema, _NOISE_IN)
    definitions = cast("dict[str, Schema]", short.pop("$defs", {}))
    return cast("Schema", _resolved(short, definitions, _ALL, frozenset()))


def output_schema(schema: Schema, *, depth: int, brief: bool = False) -> Schema:
    """The result's schema, of which `depth` levels of models are shown; what lies deeper is said to be objects.

    A `brief` one shows only the fields that are always there, without descriptions: another tool's shows them all.
    """
    short = _lean(schema, _NOISE_BRIEF if brief else _NOISE_OUT)
    definitions = cast("dict[str, Schema]", short.pop("$defs", {}))
    if brief:
        always = short.get("required", ())
        short["properties"] = {name: value for name, value in short["properties"].items() if name in always}
    return cast("Schema", _resolved(_less(short, _OF_A_MODEL), definitions, depth - 1, _OF_A_MODEL))


def _lean(schema: Schema, noise: frozenset[str]) -> Schema:
    kept = {key: _lean_value(key, value, noise) for key, value in schema.items() if key not in noise}
    if kept.get("default", ...) is None:  # what may be left out needs no word for it
        del kept["default"]
    return _with_null(kept)


def _lean_value(key: str, value: Any, noise: frozenset[str]) -> Any:
    if key in {"properties", "$defs"}:  # its keys are names, not keywords
        return {name: _lean(inner, noise) for name, inner in cast("dict[str, Schema]", value).items()}
    if isinstance(value, dict):
        return _lean(cast("Schema", value), noise)
    if isinstance(value, list):
        return [_lean_value("", item, noise) for item in cast("list[Any]", value)]
    return value


def _with_null(schema: Schema) -> Schema:
    """An optional value of a plain type, written as one type list instead of alternatives."""
    match schema.get("anyOf"):
        case [{"type": str(plain)} as first, second] if second == _NULL and "enum" not in first:
            rest = {key: value for key, value in schema.items() if key != "anyOf"}
            return {**first, **rest, "type": [plain, "null"]}
        case _:
            return schema


def _resolved(value: Any, definitions: dict[str, Schema], depth: int, without: frozenset[str]) -> Any:
    """The value with each reference replaced by what it means, less the keywords `without`, `depth` levels deep."""
    if isinstance(value, list):
        return [_resolved(item, definitions, depth, without) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast("Schema", value)
    if isinstance(reference := schema.get("$ref"), str):
        rest = {key: text for key, text in schema.items() if key != "$ref"}
        if depth < 1:
            return {**rest, "type": "object"}
        meant = _less(definitions[reference.rpartition("/")[2]], without)
        return {**_resolved(meant, definitions, depth - 1, without), **rest}
    return _with_null({key: _resolved(inner, definitions, depth, without) for key, inner in schema.items()})


def _less(schema: Schema, without: frozenset[str]) -> Schema:
    return {key: value for key, value in schema.items() if key not in without}
