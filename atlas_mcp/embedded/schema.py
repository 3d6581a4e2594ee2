"""From a tool's source to its JSON schema, by reading the syntax tree: the source is never run here.

Type hints give the types, a Google-style docstring the descriptions. The tool is the source's last public function, or
the one that a given schema names.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from atlas_mcp.embedded.faults import Refused

_SIMPLE = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object", "list": "array"}
_LISTS = {"list", "List", "Sequence", "set", "tuple", "Iterable"}
_INJECTED = {"self", "agent_state"}


def read_schema(source: str, name: str | None = None) -> dict[str, Any]:
    """`{"name", "description", "parameters"}` of the tool in `source`. Raises a 400 that says what is missing."""
    function = _function(source, name)
    text = ast.get_docstring(function) or ""
    if not text:
        raise Refused(400, f"The tool {function.name!r} needs a docstring: the model reads it to know what it does.")
    described = _arguments(text)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for argument, default in _parameters(function):
        if argument.arg in _INJECTED:
            continue
        if argument.annotation is None:
            raise Refused(400, f"The argument {argument.arg!r} of the tool {function.name!r} needs a type hint.")
        properties[argument.arg] = _type(argument.annotation) | _described(described.get(argument.arg))
        if default is None:
            required.append(argument.arg)
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": function.name, "description": _summary(text), "parameters": parameters}


def check_function(source: str, name: str) -> None:
    """Raises a 400 when `source` is not Python or has no function of that name."""
    _function(source, name)


def _function(source: str, name: str | None) -> ast.FunctionDef | ast.AsyncFunctionDef:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise Refused(400, f"The tool's source is not Python: {error}") from None
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    wanted = [node for node in functions if node.name == name or (name is None and not node.name.startswith("_"))]
    if not wanted:
        raise Refused(
            400, f"The tool's source has no function {name!r}." if name else "The source has no public function."
        )
    return wanted[-1]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    spec = function.args
    if spec.vararg or spec.kwarg:
        raise Refused(400, f"The tool {function.name!r} may not take *args or **kwargs: a model needs named arguments.")
    plain = [*spec.posonlyargs, *spec.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(spec.defaults))
    return [*zip(plain, [*defaults, *spec.defaults], strict=True), *zip(spec.kwonlyargs, spec.kw_defaults, strict=True)]


def _type(hint: ast.expr) -> dict[str, Any]:
    if isinstance(hint, ast.Constant) and isinstance(hint.value, str):
        return _type(ast.parse(hint.value, mode="eval").body)
    if isinstance(hint, ast.BinOp) and isinstance(hint.op, ast.BitOr):
        return _union([hint.left, hint.right])
    if isinstance(hint, ast.Subscript):
        return _generic(_last_name(hint.value), hint.slice)
    return {"type": _SIMPLE[name]} if (name := _last_name(hint)) in _SIMPLE else {}


def _generic(name: str, inside: ast.expr) -> dict[str, Any]:
    items = list(inside.elts) if isinstance(inside, ast.Tuple) else [inside]
    if name in {"Optional", "Union"}:
        return _union(items)
    if name == "Annotated":
        return _type(items[0])
    if name == "Literal":
        values = [item.value for item in items if isinstance(item, ast.Constant)]
        kind = _SIMPLE.get(type(values[0]).__name__) if values else None
        return {"enum": values} | ({"type": kind} if kind else {})
    if name in _LISTS:
        return {"type": "array", "items": _type(items[0])}
    return {"type": "object"} if name in {"dict", "Dict", "Mapping"} else {}


def _union(options: list[ast.expr]) -> dict[str, Any]:
    kinds = [_type(option) for option in options if not (isinstance(option, ast.Constant) and option.value is None)]
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _described(text: str | None) -> dict[str, Any]:
    return {"description": text} if text else {}


def _summary(docstring: str) -> str:
    return re.split(r"\n\s*(?:Args|Arguments|Returns|Raises|Yields|Examples?):\s*\n", docstring, maxsplit=1)[0].strip()


def _arguments(docstring: str) -> dict[str, str]:
    found = re.search(r"^(?:Args|Arguments):\s*\n((?:[ \t]+.*\n?|\s*\n)*)", docstring, re.MULTILINE)
    described: dict[str, str] = {}
    name = ""
    for line in found.group(1).splitlines() if found else []:
        start = re.match(r"[ \t]+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)", line)
        if start and len(line) - len(line.lstrip()) <= _indent(found.group(1) if found else ""):
            name = start.group(1)
            described[name] = start.group(2).strip()
        elif name and line.strip():
            described[name] = f"{described[name]} {line.strip()}".strip()
    return described


def _indent(section: str) -> int:
    first = next((line for line in section.splitlines() if line.strip()), "")
    return len(first) - len(first.lstrip())
