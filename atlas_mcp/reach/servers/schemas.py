"""A stranger's JSON Schema, made into a check that looks nothing up elsewhere and never takes long.

Regular expressions are left out of it, since a bad one takes for ever: the server itself has to check those.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CHARS = 20_000
MOST_PARTS = 20_000
"""Of a schema with everything put in that it refers to."""
_BY_PATTERN = ("patternProperties", "additionalProperties", "unevaluatedProperties")


class BadSchemaError(Exception):
    """Raised for a schema that cannot be used; the text says why."""


def checker(schema: dict[str, Any]) -> Callable[[Any], str]:
    """What says what is wrong with a value, or "". Raises BadSchemaError."""
    if (length := len(json.dumps(schema))) > MOST_CHARS:
        raise BadSchemaError(f"its schema has {length:,} characters; it may have {MOST_CHARS:,}")
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        _count(schema, schema, {})
    except SchemaError as error:
        raise BadSchemaError(f"its schema is none: {error.message[:200]}") from None
    except RecursionError:
        raise BadSchemaError("its schema is too deep") from None
    return partial(_wrong, kind(_quick(schema), registry=Registry()))


def _wrong(validator: Any, value: Any) -> str:
    try:
        error: Any = next(iter(validator.iter_errors(value)), None)
    except (RecursionError, Unresolvable):
        return ""  # a schema that cannot be applied refuses nothing; its server checks
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    return f"{place}: {str(error.message)[:300]}" if place else str(error.message)[:300]


def _count(part: Any, root: dict[str, Any], sizes: dict[str, int]) -> int:
    """How many parts there are with all references put in; those that go in a circle count once."""
    if isinstance(part, list):
        return 1 + sum(_count(one, root, sizes) for one in cast("list[Any]", part))
    if not isinstance(part, dict):
        return 1
    table = cast("dict[str, Any]", part)
    size = 1 + sum(_count(one, root, sizes) for one in table.values())
    for key in ("$ref", "$dynamicRef"):
        if isinstance(ref := table.get(key), str):
            if not ref.startswith("#"):
                raise BadSchemaError(f"its schema refers to {ref[:100]!r}, and nothing is looked up elsewhere")
            if ref not in sizes:
                sizes[ref] = 1
                sizes[ref] = _count(_at(root, ref), root, sizes)
            size += sizes[ref]
    if size > MOST_PARTS:
        raise BadSchemaError(f"its schema has more than {MOST_PARTS:,} parts, with all that it refers to")
    return size


def _at(root: dict[str, Any], ref: str) -> Any:
    found: Any = root
    for step in ref[1:].split("/")[1:]:
        if not isinstance(found, dict):
            return None
        found = cast("dict[str, Any]", found).get(step.replace("~1", "/").replace("~0", "~"))
    return found


def _quick(schema: Any) -> Any:
    """The schema without its regular expressions; where they say which properties there may be, all may be there."""
    if isinstance(schema, list):
        return [_quick(part) for part in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    table = cast("dict[str, Any]", schema)
    without = {"pattern"} if isinstance(table.get("pattern"), str) else set[str]()
    if "patternProperties" in table:
        without.update(_BY_PATTERN)
    return {key: _quick(part) for key, part in table.items() if key not in without}
