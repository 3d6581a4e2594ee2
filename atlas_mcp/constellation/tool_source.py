"""A tool as it stands in its file: one typed function with a docstring, read without running anything of it.

Promise: reading a file never executes it. What is read has a name, a kind, pools, a schema that says exactly which
arguments it takes, and a check of arguments whose complaints a model can act on. A file that is not a tool is
BrokenTool, saying what to mend.

The file says what it is by plain constants: `KIND` is "pure" (needs nothing outside; the default), "network" (needs the
internet; a user's own only), or what it is handed as its first argument, named like the kind (shipped ones only): "run"
(the run), "knowledge" (what is shared), or a door to something outside: "web", "search", "files", "tavily",
"firecrawl", "github", "microsoft". `POOLS` names its pools; `MARKS` what it does at worst: "read" (the default),
"keep", "write", "spend", "destroy".
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pydantic import TypeAdapter, ValidationError

from atlas_mcp.constellation.tool_docs import read_docs
from atlas_mcp.constellation.tool_types import UnknownType, type_of
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.permissions import Mark
from atlas_mcp.model.turn import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Door = Literal["web", "search", "files", "tavily", "firecrawl", "github", "microsoft"]
Kind = Literal["pure", "network", "run", "knowledge", Door]
DOORS: frozenset[Kind] = frozenset(get_args(Door))
"""The kinds that reach outside: a tool of one is offered only where its door is open."""
PRIVATE: frozenset[Kind] = frozenset({"files", "github", "microsoft"})
"""Of these, the doors to what is the home's owner's own: open for who owns the home only, see Caller.owns_home."""
INSIDE: frozenset[Kind] = frozenset({*DOORS, "run", "knowledge"})
"""The kinds that work inside of ATLAS, on what their first argument, named like the kind, lets them reach."""

OWN_POOL = "own"


class BrokenTool(Exception):
    """Raised when a file is not a usable tool; the text says what to mend."""


@dataclass(frozen=True)
class Argument:
    """One argument: how a value of it is checked, and its default if it has one."""

    name: str
    check: TypeAdapter[Any]
    about: str
    default: Any
    required: bool

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        schema = self.check.json_schema()
        if self.about:
            schema["description"] = self.about
        if not self.required:
            schema["default"] = self.default
        return schema


@dataclass(frozen=True)
class ToolSource:
    """A tool: what its file says, and the whole text of the file."""

    name: str
    kind: Kind
    pools: tuple[str, ...]
    marks: tuple[Mark, ...]
    source: str
    sha256: str
    asynchronous: bool
    arguments: tuple[Argument, ...]
    spec: ToolSpec

    @functools.cached_property
    def mark(self) -> str:
        """Tells this state of the source, and of what a model is told of it, from every other."""
        told = json.dumps(self.spec.model_dump(), sort_keys=True)
        return "sha256:" + hashlib.sha256(f"{self.sha256} {told}".encode()).hexdigest()

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments in their own types, defaults filled in; ToolFailed names all that is wrong."""
        known = {a.name: a for a in self.arguments}
        wrong = [f"there is no argument {name!r}" for name in given if name not in known]
        values: dict[str, Any] = {}
        for argument in self.arguments:
            if argument.name in given:
                try:
                    values[argument.name] = argument.check.validate_python(given[argument.name])
                except ValidationError as error:
                    wrong += [f"{_place(argument.name, e['loc'])}: {e['msg']}" for e in error.errors()[:3]]
            elif argument.required:
                wrong.append(f"the argument {argument.name!r} is missing")
            else:
                values[argument.name] = argument.default
        if wrong:
            takes = ", ".join(a.name if a.required else f"{a.name} (optional)" for a in self.arguments)
            raise ToolFailed(f"{self.name}: {'; '.join(wrong)}. It takes: {takes or 'no arguments'}.")
        return values


def read_tool(path: Path) -> ToolSource:
    """The tool in that file. Raises BrokenTool."""
    return _made(path, *_parsed(path))


def read_unless(path: Path, closed: frozenset[Kind]) -> ToolSource | None:
    """The tool in that file; None if it is of one of these kinds, and then no more of it is read. Raises BrokenTool."""
    source, tree = _parsed(path)
    return None if _constants(tree)[0] in closed else _made(path, source, tree)


def _parsed(path: Path) -> tuple[str, ast.Module]:
    try:
        source = path.read_text(encoding="utf-8")
        return source, ast.parse(source)
    except SyntaxError as error:
        raise BrokenTool(f"line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise BrokenTool(f"it cannot be read: {error}") from error


def _made(path: Path, source: str, tree: ast.Module) -> ToolSource:
    function = _function(tree, path.stem)
    kind, pools, marks = _constants(tree)
    docs = read_docs(ast.get_docstring(function) or "")
    if not docs.about:
        raise BrokenTool(f"line {function.lineno}: {function.name} has no docstring; it tells the agent what it does")
    arguments = _arguments(function, docs.arguments, inside=kind if kind in INSIDE else None)
    return ToolSource(
        name=function.name,
        kind=kind,
        pools=pools,
        marks=marks,
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        asynchronous=isinstance(function, ast.AsyncFunctionDef),
        arguments=arguments,
        spec=ToolSpec(name=function.name, description=docs.about, parameters=_schema(arguments)),
    )


def _function(tree: ast.Module, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
    ]
    if [node.name for node in public] != [name]:
        found = ", ".join(node.name for node in public) or "none"
        raise BrokenTool(f"it must define exactly one public function, named {name} like the file; it defines: {found}")
    if not name.islower() or not name.isascii() or len(name) > 64:
        raise BrokenTool(f"{name!r} is no name for a tool: up to 64 small letters, digits and _, a letter first")
    return public[0]


def _constants(tree: ast.Module) -> tuple[Kind, tuple[str, ...], tuple[Mark, ...]]:
    constants: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            try:
                constants[target.id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # not a plain constant, so not one of ours
    kind = constants.get("KIND", "pure")
    pools = _names(constants, "POOLS", (OWN_POOL,), '("materials",)')
    marks = _names(constants, "MARKS", ("read",), '("write",)')
    if kind not in get_args(Kind):
        raise BrokenTool(f"KIND is {kind!r}; it may be {', '.join(get_args(Kind))}")
    if unknown := set(marks) - set(get_args(Mark)):
        raise BrokenTool(f"MARKS has {', '.join(sorted(unknown))}; there are {', '.join(get_args(Mark))}")
    return cast("Kind", kind), pools, cast("tuple[Mark, ...]", marks)


def _names(constants: dict[str, Any], constant: str, default: tuple[str, ...], example: str) -> tuple[str, ...]:
    given = constants.get(constant, default)
    if not isinstance(given, tuple | list) or not given or not all(isinstance(n, str) for n in given):  # pyright: ignore[reportUnknownVariableType]  # a literal of any kind
        raise BrokenTool(f"{constant} must be a tuple of names, such as {example}")
    return tuple(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]  # checked above


def _arguments(
    function: ast.FunctionDef | ast.AsyncFunctionDef, about: dict[str, str], *, inside: Kind | None
) -> tuple[Argument, ...]:
    given = function.args
    if given.vararg or given.kwarg or given.posonlyargs:
        raise BrokenTool(f"line {function.lineno}: its arguments must all be named ones, without * and **")
    plain = [*given.args, *given.kwonlyargs]
    defaults = [*[None] * (len(given.args) - len(given.defaults)), *given.defaults, *given.kw_defaults]
    if inside:
        if not plain or plain[0].arg != inside:
            raise BrokenTool(
                f"line {function.lineno}: a tool of the kind {inside} takes `{inside}` as its first argument"
            )
        plain, defaults = plain[1:], defaults[1:]
    return tuple(_argument(a, d, about.get(a.arg, "")) for a, d in zip(plain, defaults, strict=True))


def _argument(argument: ast.arg, default: ast.expr | None, about: str) -> Argument:
    if argument.annotation is None:
        raise BrokenTool(f"line {argument.lineno}: {argument.arg} has no type")
    try:
        check: TypeAdapter[Any] = TypeAdapter(type_of(argument.annotation))
        value = None if default is None else ast.literal_eval(default)
    except UnknownType as error:
        raise BrokenTool(f"line {argument.lineno}: {argument.arg}: {error}") from error
    except ValueError as error:
        raise BrokenTool(f"line {argument.lineno}: the default of {argument.arg} is not a plain value") from error
    return Argument(argument.arg, check, about, value, default is None)


def _schema(arguments: tuple[Argument, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {a.name: a.schema() for a in arguments},
        "required": [a.name for a in arguments if a.required],
        "additionalProperties": False,
    }


def _place(name: str, inside: tuple[int | str, ...]) -> str:
    return ".".join([name, *map(str, inside)])
