"""What the site says of tools, settings and commands, taken from the program itself while the site is built.

Called by mkdocs. A page asks for it by a comment: `<!-- tools -->`, `<!-- settings -->`, `<!-- commands -->`. So these
pages cannot say what the program does not do. Pictures under `pictures/` are put into the page itself, so that they
follow its colours.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

import typer.main
from pydantic_core import PydanticUndefined

from atlas_mcp.cli.app import app
from atlas_mcp.server.app import tools_of
from atlas_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcp.server.mcpserver.tools import Tool

HERE = Path(__file__).parent
_KINDS: dict[Any, str] = {int: "NUMBER", float: "NUMBER", Path: "FILE"}
_SHIM = "https://unpkg.com/iframe-worker/shim"
_PICTURE = re.compile(r"!\[([^\]]*)\]\((pictures/[\w-]+\.svg)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with each page's text."""
    for name, written in GENERATED.items():
        if (mark := f"<!-- {name} -->") in markdown:
            markdown = markdown.replace(mark, written())
    return _PICTURE.sub(_inline, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Called with each page's HTML: the one script that the theme would load from elsewhere lies beside the pages."""
    return output.replace(_SHIM, "scripts/iframe-worker.js")


def on_post_template(output_content: str, **_: Any) -> str:
    """Called with the page for addresses that there are not."""
    return output_content.replace(_SHIM, "/scripts/iframe-worker.js")


def _inline(found: re.Match[str]) -> str:
    drawing = (HERE / found[2]).read_text(encoding="utf-8").split("?>", 1)[-1].strip()
    flat = re.sub(r"\n\s*\n", "\n", drawing)  # a blank line would end the block for Markdown
    return f'<div class="atlas-picture" role="img" aria-label="{found[1]}">\n{flat}\n</div>'


# ---- tools


def tools() -> str:
    """Every tool with its arguments, by toolset."""
    parts: list[str] = []
    seen: set[str] = set()
    for toolset, said in (
        ("core", "Always offered."),
        ("memory", "With `--toolset memory` or `all`."),
        ("admin", "With `--toolset admin` or `all`."),
    ):
        parts.append(f"## {toolset.capitalize()}\n\n{said}\n")
        for tool in tools_of(cast("Any", None), "stdio", toolset):
            if tool.name not in seen:
                seen.add(tool.name)
                parts.append(_tool(tool))
    return "\n".join(parts)


def _tool(tool: Tool) -> str:
    schema = tool.parameters
    rows = [_argument(name, one, name in schema.get("required", [])) for name, one in schema["properties"].items()]
    head = ["| argument | default | meaning |", "|---|---|---|"] if rows else ["It takes no arguments."]
    return "\n".join([f"### `{tool.name}`", "", _cell(tool.description), "", *head, *rows, ""])


def _argument(name: str, schema: dict[str, Any], required: bool) -> str:  # a fact about the argument
    default = "required" if required else _code(schema.get("default"))
    return f"| `{name}` | {default} | {_cell(schema.get('description', ''))} |"


# ---- settings


def settings() -> str:
    """Every setting: its variable, its name in the settings file, its default."""
    rows = ["| variable | in `settings.toml` | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name == "provider_keys":
            continue
        variable = str(field.validation_alias or f"ATLAS_{name.upper()}")
        filed = "–" if name == "home" else f"`{name}`"
        plain = field.default is not PydanticUndefined and field.default not in (None, ())
        default = _code(field.default) if plain else "–"
        rows.append(f"| `{variable}` | {filed} | {default} | {_cell(field.description or '')} |")
    return "\n".join(rows)


# ---- commands


def commands() -> str:
    """Every command with what `--help` says of it."""
    return "\n".join(_command(path, command) for path, command in every_command())


def every_command() -> Iterator[tuple[str, Any]]:
    """Each command that `--help` shows, with the words that call it."""
    yield from _below("atlas-mcp", typer.main.get_command(app))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None or command.callback is not None:
        yield path, command
    for name, one in (inner or {}).items():
        if not one.hidden:
            yield from _below(f"{path} {name}", one)


def _command(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    usage = " ".join([path, *(_usage(p) for p in arguments), *(["[OPTIONS]"] if options else [])])
    rows = [f"| `{'`, `'.join([*p.opts, *p.secondary_opts])}` | {_kind(p)} | {_cell(p.help or '')} |" for p in options]
    table = ["| option | value | meaning |", "|---|---|---|", *rows, ""] if rows else []
    said = [f"- `{_usage(p)}`: {_cell(p.help or '')}" for p in arguments]
    help_text = _cell(inspect.cleandoc(command.help or ""))
    return "\n".join([f"## `{path}`", "", help_text, "", f"    {usage}", "", *said, "", *table])


def _usage(parameter: Any) -> str:
    name = parameter.metavar or str(parameter.name).upper()
    name = name if parameter.nargs == 1 else f"{name}..."
    return name if parameter.required else f"[{name}]"


def _kind(option: Any) -> str:
    if option.is_flag:
        return "–"
    given = option.type_descriptor.annotation
    choices = get_args(given) if get_origin(given) is Literal else ()
    kind = "`, `".join(choices) or option.metavar or _KINDS.get(given, "TEXT")
    shown = option.default if isinstance(option.default, str | int | float) else None
    return f"`{kind}`" + ("" if shown is None else f", else `{shown}`")


# ---- words


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(value: Any) -> str:
    return "–" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"


GENERATED: dict[str, Callable[[], str]] = {"tools": tools, "settings": settings, "commands": commands}
