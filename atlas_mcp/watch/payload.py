"""What of a value goes into a span: bounded in size, free of secrets, and never an error.

`render` turns anything (a 10 MB text, a cycle, a model, an object whose `__str__` raises) into a short JSON text; it
raises nothing and reads at most a fixed part of the value, so its cost does not grow with what it is given.

Limits: 8,000 characters of one text, 200 items of one container, 8 levels, 24,000 characters of text in all; what is
left out is said (`…[+9,992,000 characters]`). Values under a key that names a secret (token, api_key, password,
authorization, cookie, ...) are replaced by `[redacted]`, as are texts that look like one (`sk-...`, `Bearer ...`, a
private key, a password in a URL). Numbers under a key such as `tokens` are counts, and stay.

Redaction is a net, not a proof: a secret of no known form under an innocent key is not recognised.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from json.encoder import encode_basestring
from pathlib import PurePath
from typing import Any, Final, cast

from atlas_mcp.model.secrets import REDACTED, hidden, is_secret_key

MAX_TEXT: Final = 8_000
MAX_ITEMS: Final = 200
MAX_DEPTH: Final = 8
MAX_TOTAL: Final = 24_000

quoted: Final = encode_basestring
"""A text as JSON writes it."""

_HIDDEN: Final = quoted(REDACTED)
_MAX_KEY: Final = 200

_OVERLAP: Final = 400
"""Read beyond a cut, so that a secret that straddles it is recognised before it is cut."""


def render(value: object) -> str:
    """`value` as JSON text of at most some 50,000 characters; see the module for what is cut and what is hidden."""
    try:
        return _Walk().write(value)
    except Exception as error:  # noqa: BLE001 - a value may raise anything from anywhere; the call must go on
        return json.dumps(f"<unreadable {type(value).__name__}: {type(error).__name__}>")


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """`text` without what looks like a secret, at most `limit` characters and a note of how many were left out."""
    left_out = len(text) - limit
    seen = text[: limit + _OVERLAP] if left_out > 0 else text
    seen = hidden(seen)
    if not seen.isascii():
        seen = seen.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
    if "\0" in seen:
        seen = seen.replace("\0", "\ufffd")  # PostgreSQL refuses it
    return f"{seen[:limit]}…[+{left_out:,} characters]" if left_out > 0 else seen


def describe_error(error: BaseException, limit: int = 500) -> str:
    """`Type: text` of an error, cleaned; of a group, its first real one. Never raises."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = cast("BaseExceptionGroup[BaseException]", first).exceptions[0]
    return f"{type(first).__name__}: {_text_of(first, limit)}"


def _text_of(value: object, limit: int) -> str:
    try:
        return clean(str(value), limit)
    except Exception as error:  # noqa: BLE001 - __str__ may raise anything
        return f"<unreadable {type(value).__name__}: {type(error).__name__}>"


class _Walk:
    """One pass over one value, with a budget of characters that all its parts share. Writes JSON as it goes."""

    __slots__ = ("_inside", "_left")

    def __init__(self) -> None:
        self._left = MAX_TOTAL
        self._inside: set[int] = set()

    def write(self, value: object, depth: int = 0) -> str:
        """The value as JSON within the limits."""
        kind = type(value)  # by far the most are of just these three
        if kind is str:
            return self._text(cast("str", value))
        if kind is dict or kind is list:
            return self._parts(value, cast("Iterable[Any]", value), depth)
        if value is None:
            return "null"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            small = -(1 << 63) <= value < 1 << 63
            return int.__repr__(value) if small else quoted(f"<integer of {value.bit_length()} bits>")
        if isinstance(value, float):
            return float.__repr__(value) if math.isfinite(value) else quoted(float.__repr__(value))  # JSON knows no NaN
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return quoted(f"<{len(cast('bytes', value)):,} bytes>")
        if isinstance(value, BaseException):
            return self._text(describe_error(value, MAX_TEXT))
        members = _members(value)
        return self._text(_text_of(value, MAX_TEXT)) if members is None else self._parts(value, members, depth)

    def _parts(self, value: object, members: Mapping[Any, Any] | Iterable[Any], depth: int) -> str:
        if depth >= MAX_DEPTH:
            return quoted(f"<{type(value).__name__}, deeper than {MAX_DEPTH} levels>")
        if id(value) in self._inside:
            return quoted(f"<{type(value).__name__}, contains itself>")
        self._inside.add(id(value))
        try:
            if type(members) is dict or isinstance(members, Mapping):
                return self._mapping(cast("Mapping[Any, Any]", members), depth)
            return self._sequence(members, depth)
        finally:
            self._inside.discard(id(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> str:
        found: list[str] = []
        for key, item in value.items() if len(value) <= MAX_ITEMS else islice(value.items(), MAX_ITEMS):
            if self._left <= 0:
                break
            name, written, secret = _key(key if isinstance(key, str) else _text_of(key, _MAX_KEY))
            self._left -= len(written)
            if not secret or (_is_count(item) and name.lower().endswith(("token", "tokens"))):
                found.append(f"{written}: {self.write(item, depth + 1)}")
            else:
                found.append(f"{written}: {_HIDDEN}")
        if len(value) > len(found):
            found.append(f'"…": "+{len(value) - len(found):,} entries"')
        return f"{{{', '.join(found)}}}"

    def _sequence(self, value: Iterable[Any], depth: int) -> str:
        found: list[str] = []
        length = len(cast("list[Any]", value))
        for item in islice(value, MAX_ITEMS):
            if self._left <= 0:
                break
            found.append(self.write(item, depth + 1))
        if length > len(found):
            found.append(quoted(f"…[+{length - len(found):,} items]"))
        return f"[{', '.join(found)}]"

    def _text(self, text: str) -> str:
        short = clean(text, MAX_TEXT if self._left > MAX_TEXT else max(0, self._left))
        self._left -= len(short) + 2
        return quoted(short)


def _key(name: str) -> tuple[str, str, bool]:
    """A key as it is shown, as JSON, and whether its value is hidden."""
    return _short_key(name) if len(name) <= _MAX_KEY else _short_key(clean(name, _MAX_KEY))


@lru_cache(maxsize=2_048)
def _short_key(name: str) -> tuple[str, str, bool]:
    shown = clean(name)
    return shown, quoted(shown), is_secret_key(shown)


def _is_count(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _members(value: object) -> Mapping[Any, Any] | Iterable[Any] | None:
    """What a compound value consists of, or None for one that is told by its text."""
    if isinstance(value, Mapping):
        return cast("Mapping[Any, Any]", value)
    if isinstance(value, list | tuple | AbstractSet):
        return cast("Iterable[Any]", value)
    if isinstance(value, type | Callable | PurePath):
        return None
    if hasattr(type(value), "model_fields") or dataclasses.is_dataclass(value):
        return _fields(value)
    return None


def _fields(value: object) -> Mapping[str, Any]:
    """The fields of a pydantic model or a dataclass, without copying or validating any of them."""
    own = cast("dict[str, Any] | None", getattr(value, "__dict__", None))
    if own is None:
        names = [field.name for field in dataclasses.fields(cast("Any", value))]
        own = {name: getattr(value, name, None) for name in names}
    extra = cast("dict[str, Any] | None", getattr(value, "__pydantic_extra__", None))
    return {**own, **extra} if extra else own
