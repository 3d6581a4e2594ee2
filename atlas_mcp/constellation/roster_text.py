"""A roster written as the file that it could have been read from: one TOML file, personas and all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.model.agent import Roster


def roster_text(roster: Roster) -> str:
    """The TOML file of the roster; `load_roster` makes an equal one of it."""
    lines = [f"name = {_value(roster.name)}"]
    told = roster.model_dump(mode="json", exclude_none=True)
    for block in told.pop("blocks"):
        lines += ["", "[[blocks]]", *_pairs(block)]
    for kind in ("agents", "teams", "groups"):
        for entry in told[kind]:
            given = {k: v for k, v in entry.items() if k not in {"name", "team"}}
            lines += ["", f"[{kind}.{entry['name']}]", *_pairs(given)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{k} = {_value(v)}" for k, v in cast("dict[str, Any]", value).items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast('list[Any]', value)))}]"
    # JSON's strings, numbers and booleans are TOML's, but for one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
