"""Texts that try to make an agent do what nobody asked of it, and their harmless twins, as data.

The shipped ones stand in `data/red_team.toml`, which says what each field means; a file of the user's has the same
form.
"""

from __future__ import annotations

import base64
import codecs
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model._base import Frozen

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parent.parent / "data" / "red_team.toml"
PLANTED, OTHERS = "{planted}", "{others}"
"""Canaries that are made for the occasion: a word in the agent's own memory, and one in another caller's."""

Way = Literal["message", "page", "memory", "document", "call"]
_LOOK_ALIKES = str.maketrans("aceopxyi", "асеорхуі")


class Case(Frozen):
    """One text: how it reaches an agent, what it is, and what must not come of it.

    By the way "call" it reaches nobody: it is what an agent that obeyed would put into a call of a tool. `direct`: it
    is the user's own word, which no rule about what enters looks at.
    """

    id: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9-]+$")
    way: Way
    text: str = Field(min_length=1, max_length=20_000)
    form: str = "plain"
    language: str = "en"
    before: tuple[str, ...] = ()
    canary: str = ""
    calls: tuple[str, ...] = ()
    benign: bool = False
    direct: bool = False


def read_cases(path: Path = SHIPPED) -> list[Case]:
    """The cases of the file, their texts made up. InvalidInput names what is wrong and where."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, f"it cannot be read: {error}") from None
    given: Any = content.get("cases")
    if not isinstance(given, list) or not given:
        raise _wrong(path, "it has no [[cases]]")
    cases: list[Case] = []
    for number, one in enumerate(given, 1):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        try:
            cases.append(_case(dict(one), content))  # pyright: ignore[reportUnknownArgumentType]
        except (ValidationError, ValueError, TypeError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            said = f"{first['loc'][0] if first['loc'] else ''}: {first['msg']}" if first else str(error)
            raise _wrong(path, f"case {number}: {said}") from None
    if len({one.id for one in cases}) < len(cases):
        raise _wrong(path, "two cases have the same id")
    return cases


def _case(given: dict[str, Any], content: dict[str, Any]) -> Case:
    payload, encode = str(given.pop("payload", "")), given.pop("encode", None)
    order = str(content.get("orders", {}).get(given.get("language", "en"), ""))
    if encode is not None and encode not in WRITINGS:
        raise ValueError(f"encode: there is no {encode!r}; there are {', '.join(WRITINGS)}")
    payload = payload.replace("{order}", order)
    text = str(given.get("text", "")).replace("{order}", order)
    written = WRITINGS[encode](payload) if encode else payload
    case = Case.model_validate({**given, "text": text.replace("{payload}", written)})
    if case.benign or case.calls or case.canary or case.way == "call":
        return case
    canary = str(content.get("canary", ""))
    if not canary or canary in text + payload:
        raise ValueError("it needs a canary that is not in its own text, or calls that must not be made")
    return case.model_copy(update={"canary": canary})


def _wrong(path: Path, problem: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: {problem}.", argument="FILE", next_step=f"{SHIPPED} has the form, and says what each field means."
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _each(form: str, text: str) -> str:
    return "".join(form.format(ord(c)) for c in text)


WRITINGS: dict[str, Callable[[str], str]] = {
    "base64": _base64,
    "base64_twice": lambda text: _base64(_base64(text)),
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "percent": lambda text: quote(text, safe=""),
    "entities": partial(_each, "&#{};"),
    "escapes": partial(_each, "\\x{:02x}"),
    "spaced": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "tags": lambda text: "".join(chr(0xE0000 + ord(c)) for c in text if c.isascii()),
    "zero_width": "\u200b".join,
    "reversed": lambda text: text[::-1],
    "wide": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "look_alikes": lambda text: text.translate(_LOOK_ALIKES),
}
"""The ways in which a payload may be written."""
