"""What a client may send, made from a tool's own schema: what fits, at its edges, and what does not."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

AWKWARD = (
    "",
    " ",
    "\n",
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b]0;owned\x07",
    "a\r\nINFO: forged",
    "\x85\u2028\u2029",
    "\u202egnp.exe",
    "\ufeffbom",
    "e\u0301" * 20,
    "ı",
    "\u0130stanbul",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U000e0041\U000e007f",
    "ﷺ" * 50,
    "\ud800",
    "a\udfffb",
    "../../etc/passwd",
    "..\\..\\windows\\system.ini",
    "/etc/passwd",
    "file:///etc/passwd",
    "%2e%2e%2f",
    "~root",
    "{0.__class__.__mro__}",
    "%s%n%x",
    "${jndi:ldap://x}",
    "'; DROP TABLE run; --",
    '" OR 1=1',
    "%",
    "_%",
    "*",
    "NEAR(a b)",
    '"a" AND (b',
    "null",
    "[]",
    '{"a": 1}',
    "[" * 400,
    "NaN",
    "1e999",
    "run_" + "0" * 32,
    "mem-00000000-0000-0000-0000-000000000000",
    "local:",
    "key:http",
    "librarian",
    "LIBRARIAN",
    "librarian ",
    "lıbrarian",
    "human",
    "new",
    "9999-99-99",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+14:00",
    "<script>alert(1)</script>",
    "</value></block></memory_blocks>",
    "x" * 201,
    "x" * 100_001,
)
"""Texts that have broken something somewhere."""

NUMBERS = (0, -0.0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, math.nan, math.inf, -math.inf)

texts = st.sampled_from(AWKWARD) | st.text(st.characters(), max_size=60)
names = texts.filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text))
"""Keys: what the client's own JSON can say."""
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars, lambda one: st.lists(one, max_size=4) | st.dictionaries(names, one, max_size=4), max_leaves=12
)
deep = st.integers(50, 200).map(lambda levels: _nested(levels))


def fitting(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of which the schema says that they fit."""
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return st.one_of([fitting(choice) for choice in choices])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", 0), schema.get("maximum", 2**63))
        case "number":
            return st.floats(schema.get("minimum", 0), schema.get("maximum", 1e308))
        case "array":
            return st.lists(fitting(schema["items"]), max_size=3)
        case "object":
            return fitting_object(schema)
        case _ if schema.get("format") == "date-time":
            return st.datetimes().map(lambda moment: moment.isoformat() + "Z") | texts
        case _:
            return texts


def fitting_object(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with all that must be there and some of what may be."""
    must = set(schema.get("required", ()))
    fields = {name: fitting(inner) for name, inner in schema.get("properties", {}).items()}
    return st.fixed_dictionaries(
        {name: one for name, one in fields.items() if name in must},
        optional={name: one for name, one in fields.items() if name not in must},
    )


@st.composite
def broken_object(draw: st.DrawFn, schema: Schema) -> dict[str, Any]:
    """Objects that fit but for one field: of another kind, missing, too many, or deep."""
    whole = dict(draw(fitting_object(schema)))
    known = list(schema.get("properties", {})) or ["x"]
    match draw(st.sampled_from(("other", "other", "missing", "extra", "deep"))):
        case "other":
            whole[draw(st.sampled_from(known))] = draw(anything)
        case "missing":
            whole.pop(draw(st.sampled_from(known)), None)
        case "extra":
            whole[draw(names)] = draw(anything)
        case _:
            whole[draw(st.sampled_from(known))] = draw(deep)
    return whole


def _nested(levels: int) -> Any:
    value: Any = 0
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value
