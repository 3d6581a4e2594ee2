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
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, cast

MAX_TEXT: Final = 8_000
MAX_ITEMS: Final = 200
MAX_DEPTH: Final = 8
MAX_TOTAL: Final = 24_000
REDACTED: Final = "[redacted]"

_OVERLAP: Final = 400
"""Read beyond a cut, so that a secret that straddles it is recognised before it is cut."""

_SECRET_KEY: Final = re.compile(
    r"password|passwd|passphrase|authorization|apikey|privatekey|accesskey|signingkey|credential|cookie"
    r"|secret(?!ar)|bearer|tokens?$"
)
_MIXED: Final = r"(?=\S+[A-Z0-9=])"
"""A capital or a digit after the first letter: tells a key from an ordinary word."""

_PAIR: Final = re.compile(
    r"((?:api[_\-]?key|password|passwd|secret|token|authorization)[\\\"']*\s*[=:]\s*[\\\"']*)"
    r"(?!\[redacted|bearer|basic)[^\s\\\"',;&}\]]{6,}",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"(?<![A-Za-z0-9])[spr]k[-_][A-Za-z0-9_\-]{12,}")
_VENDOR: Final = re.compile(r"\b(?:gh[pousr]_|github_pat_|hf_|glpat-|xox[abprs]-|AKIA|AIza|ya29\.)[A-Za-z0-9_\-]{12,}")
_HEADER: Final = re.compile(rf"\b(?i:bearer|basic)\s+(?:{_MIXED}[A-Za-z0-9._~+/=\-]{{8,}}|[A-Za-z0-9._~+/=\-]{{16,}})")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_URL: Final = re.compile(r"(://[^/\s:@]{1,200}:)[^/\s@]{1,400}(?=@)")

_PATTERNS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (("bearer", "basic"), _HEADER, REDACTED),
    (("key", "passw", "secret", "token", "authorization"), _PAIR, rf"\1{REDACTED}"),
    (("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"), _KEY, REDACTED),
    (
        ("hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", "lpat-", "xox", "akia", "aiza", "ya29"),
        _VENDOR,
        REDACTED,
    ),
    (("eyj",), _JWT, REDACTED),
    (("private key",), _PEM, REDACTED),
    (("://",), _URL, rf"\1{REDACTED}"),
)
"""What to look for once one of the plain words is there: looking for the words costs a hundredth of matching."""

_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


def render(value: object) -> str:
    """`value` as JSON text of at most some 50,000 characters; see the module for what is cut and what is hidden."""
    try:
        return _to_json(_Walk().reduce(value))
    except Exception as error:  # noqa: BLE001 - a value may raise anything from anywhere; the call must go on
        return json.dumps(f"<unreadable {type(value).__name__}: {type(error).__name__}>")


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """`text` without what looks like a secret, at most `limit` characters and a note of how many were left out."""
    left_out = len(text) - limit
    seen = text[: limit + _OVERLAP] if left_out > 0 else text
    lower = seen.lower()
    for words, pattern, instead in _PATTERNS:
        for word in words:  # a plain loop: `any` would be most of what a span costs
            if word in lower:
                seen = pattern.sub(instead, seen)
                break
    if not seen.isascii():
        seen = seen.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored
    if "\0" in seen:
        seen = seen.replace("\0", "\ufffd")  # PostgreSQL refuses it
    return f"{seen[:limit]}…[+{left_out:,} characters]" if left_out > 0 else seen


@lru_cache(maxsize=2_048)
def is_secret_key(name: str) -> bool:
    """Whether a value of this name is hidden, whatever it is."""
    return bool(_SECRET_KEY.search("".join(filter(str.isalpha, name[:200])).lower()))


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
    """One pass over one value, with a budget of characters that all its parts share."""

    def __init__(self) -> None:
        self._left = MAX_TOTAL
        self._inside: set[int] = set()

    def reduce(self, value: object, depth: int = 0) -> Any:
        """The value as plain JSON data within the limits."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)  # JSON knows no NaN
        if isinstance(value, int):
            return value if -(1 << 63) <= value < 1 << 63 else _text_of(f"<integer of {value.bit_length()} bits>", 80)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(cast('bytes', value)):,} bytes>"
        return self._compound(value, depth)

    def _compound(self, value: object, depth: int) -> Any:
        if isinstance(value, BaseException):
            return self._text(describe_error(value, MAX_TEXT))
        members = _members(value)
        if members is None:
            return self._text(_text_of(value, MAX_TEXT))
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__}, deeper than {MAX_DEPTH} levels>"
        if id(value) in self._inside:
            return f"<{type(value).__name__}, contains itself>"
        self._inside.add(id(value))
        try:
            if isinstance(members, Mapping):
                return self._mapping(cast("Mapping[Any, Any]", members), depth)
            return self._sequence(members, depth)
        finally:
            self._inside.discard(id(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in islice(value.items(), MAX_ITEMS):
            if self._left <= 0:
                break
            name = self._text(key if isinstance(key, str) else _text_of(key, 200), 200)
            if is_secret_key(name):
                found[name] = item if _is_count(item) and name.lower().endswith(("token", "tokens")) else REDACTED
            else:
                found[name] = self.reduce(item, depth + 1)
        if len(value) > len(found):
            found["…"] = f"+{len(value) - len(found):,} entries"
        return found

    def _sequence(self, value: Iterable[Any], depth: int) -> list[Any]:
        found: list[Any] = []
        length = len(cast("list[Any]", value))
        for item in islice(value, MAX_ITEMS):
            if self._left <= 0:
                break
            found.append(self.reduce(item, depth + 1))
        if length > len(found):
            found.append(f"…[+{length - len(found):,} items]")
        return found

    def _text(self, text: str, limit: int = MAX_TEXT) -> str:
        short = clean(text, max(0, min(limit, self._left)))
        self._left -= len(short) + 2
        return short


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
