"""The types that a tool's arguments may have, taken from its syntax tree without evaluating any of it."""

from __future__ import annotations

import ast
from typing import Any, Literal

_PLAIN: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "Any": Any, "object": Any}
_BARE: dict[str, Any] = {"list": list[Any], "dict": dict[str, Any]}
_KNOWN = "str, int, float, bool, list[...], dict[str, ...], Literal[...], Any, and unions of them with |"


class UnknownType(ValueError):
    """Raised for an annotation that is none of the types a tool's argument may have."""


def type_of(node: ast.expr) -> Any:
    """The type that the annotation means. Raises UnknownType, naming those there are."""
    match node:
        case ast.Name(id=name) if name in _PLAIN or name in _BARE:
            return _PLAIN.get(name) or _BARE[name]
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str(text)):
            return type_of(_parsed(text))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return type_of(left) | type_of(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return type_of(inner) | None
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=inner):
            return list[type_of(inner)]
        case ast.Subscript(value=ast.Name(id="dict" | "Dict"), slice=ast.Tuple(elts=[key, inner])):
            if type_of(key) is not str:
                raise UnknownType("the keys of a dict must be str")
            return dict[str, type_of(inner)]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            return _literal(inner)
        case _:
            raise UnknownType(f"{ast.unparse(node)} is not among the types a tool may take: {_KNOWN}")


def _literal(inner: ast.expr) -> Any:
    try:
        values = ast.literal_eval(inner)
    except ValueError as error:
        raise UnknownType(f"Literal[{ast.unparse(inner)}] must hold plain values") from error
    return Literal[values]


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise UnknownType(f"{text!r} is not a type") from error
