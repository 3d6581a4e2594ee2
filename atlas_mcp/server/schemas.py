"""JSON Schemas made short, for every client reads all of them in every conversation.

What is left says the same of every valid value: names, types, choices and descriptions. An argument that may be null is
shown as one that may be left out, which means the same. Output schemas show one level and name the fields below it;
they allow fields that later versions may add, and leave out bounds that only matter on the way in, and what is
required: results have every field.
"""

from __future__ import annotations

from typing import Any, cast

_NOISE_IN = frozenset({"discriminator", "title"})  # what a discriminator says, each choice's constant says too
_LEAST = frozenset({"minimum", "minLength"})  # of 0 or 1: nobody would give less, and who does is refused
_NOISE_OUT = _NOISE_IN | {
    "additionalProperties", "default", "format", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum",
}  # fmt: skip
_NOISE_BRIEF = _NOISE_OUT | {"description", "enum"}
_OF_A_MODEL = frozenset({"description", "required"})  # its own docstring; a result has every field
_NULL = {"type": "null"}
_MOST_NAMED = 12

Schema = dict[str, Any]


def input_schema(schema: Schema) -> Schema:
    """The arguments' schema without generated titles, with every model in the place where it is meant."""
    short = _lean(schema, _NOISE_IN)
    definitions = cast("dict[str, Schema]", short.pop("$defs", {}))
    return cast("Schema", _inlined(short, definitions))


def output_schema(schema: Schema, *, brief: bool = False) -> Schema:
    """The result's schema; of models within it the fields' names are told.

    A `brief` one shows only the fields that are always there, but for moments, without descriptions, and no names
    within a model of many: another tool's shows them all.
    """
    short = _lean(schema, _NOISE_BRIEF if brief else _NOISE_OUT)
    definitions = cast("dict[str, Schema]", short.pop("$defs", {}))
    if brief:
        moments = {name for name, value in schema["properties"].items() if value.get("format") == "date-time"}
        always = {*short.get("required", ())} - moments
        short["properties"] = {name: value for name, value in short["properties"].items() if name in always}
        definitions = {
            name: one if len(one.get("properties", ())) <= _MOST_NAMED else {"type": "object"}
            for name, one in definitions.items()
        }
    return cast("Schema", _shallow(_less(short, _OF_A_MODEL), definitions))


def _lean(schema: Schema, noise: frozenset[str]) -> Schema:
    kept = {
        key: _lean_value(key, value, noise)
        for key, value in schema.items()
        if key not in noise and not (key in _LEAST and value in (0, 1))
    }
    if kept.get("default", ...) is None:  # what may be left out needs no word for it
        del kept["default"]
    return kept


def _lean_value(key: str, value: Any, noise: frozenset[str]) -> Any:
    if key in {"properties", "$defs"}:  # its keys are names, not keywords
        return {name: _lean(inner, noise) for name, inner in cast("dict[str, Schema]", value).items()}
    if isinstance(value, dict):
        return _lean(cast("Schema", value), noise)
    if isinstance(value, list):
        return [_lean_value("", item, noise) for item in cast("list[Any]", value)]
    return value


def _inlined(value: Any, definitions: dict[str, Schema]) -> Any:
    """Each reference replaced by what it means, and each alternative to null by itself."""
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast("Schema", value)
    if isinstance(reference := schema.get("$ref"), str):
        meant = definitions[reference.rpartition("/")[2]]
        return {**_inlined(meant, definitions), **_less(schema, frozenset({"$ref"}))}
    resolved = {key: _inlined(inner, definitions) for key, inner in schema.items()}
    match resolved.get("anyOf"):
        case [first, second] if second == _NULL:
            return {**first, **_less(resolved, frozenset({"anyOf"}))}
        case _:
            return resolved


def _shallow(value: Any, definitions: dict[str, Schema]) -> Any:
    """Each reference replaced by the names of its fields."""
    if isinstance(value, list):
        return [_shallow(item, definitions) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    schema = cast("Schema", value)
    if isinstance(reference := schema.get("$ref"), str):
        rest = _less(schema, frozenset({"$ref"}))
        return _joined(_named(definitions[reference.rpartition("/")[2]]), rest)
    resolved = {key: _shallow(inner, definitions) for key, inner in schema.items()}
    match resolved.get("anyOf"):
        case [{"type": str(plain)} as first, second] if second == _NULL and "enum" not in first:
            return {**_joined(first, _less(resolved, frozenset({"anyOf"}))), "type": [plain, "null"]}
        case _:
            return resolved


def _named(model: Schema) -> Schema:
    if "properties" not in model:
        return model
    return {"type": "object", "description": f"{{{', '.join(model['properties'])}}}"}


def _joined(meant: Schema, rest: Schema) -> Schema:
    """What is said of a thing, with what is said of it in this place before it."""
    said = [text for text in (rest.get("description"), meant.get("description")) if text]
    return {**meant, **rest, "description": " ".join(said)} if said else {**meant, **rest}


def _less(schema: Schema, without: frozenset[str]) -> Schema:
    return {key: value for key, value in schema.items() if key not in without}
