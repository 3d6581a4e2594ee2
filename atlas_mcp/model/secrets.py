"""What looks like a secret in a text: the one detector, for traces, logs and what agents are given.

`hidden` is a wide net for what is only looked at, as traces are: what might be a secret is taken out. `secrets` tells
what is one by its own form, or by its name and its form together, for texts that are read and quoted: there an innocent
"password: see the porter" must stay.

Both are nets, not proofs: a secret of no known form under an innocent name is not recognised. Both take a time that
grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REDACTED: Final = "[redacted]"

_SHORTEST: Final = 7
"""No pattern matches less: `://u:p@`, and every key, is longer."""

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
_VENDOR: Final = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|hf_|glpat-|xox[abprs]-|AKIA|AIza|ya29\.|atlas_[0-9a-f]{12}_|npm_|pypi-|tvly-)"
    r"[A-Za-z0-9_\-]{12,}"
)
_HEADER: Final = re.compile(rf"\b(?i:bearer|basic)\s+(?:{_MIXED}[A-Za-z0-9._~+/=\-]{{8,}}|[A-Za-z0-9._~+/=\-]{{16,}})")
_JWT: Final = re.compile(r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*")
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_URL: Final = re.compile(r"(://[^/\s:@]{1,200}:)[^/\s@]{1,400}(?=@)")
_PREFIXES: Final = (
    *("hf_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "_pat_", "lpat-", "xox", "atlas_", "npm_", "pypi-", "tvly-"),
)
_LEAST_RUN: Final = 10
"""Characters without a dash that a key has somewhere."""
_GUESSED: Final = re.compile(
    r"(?i:^[<{$%*(\[]|example|placeholder|changeme|your|redacted|dummy|xxx|\*\*\*|\.\.\.|env[.\[(]|^(?:password|passwd|pass|pwd|secret|token)$)"
)
"""What stands where a secret would, in a text that explains."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's place in a text, and of what kind it is, in a word or three."""

    start: int
    end: int
    kind: str


_Row = tuple[str, str, tuple[str, ...], re.Pattern[str], str, str]

_ROWS: Final[tuple[_Row, ...]] = (
    ("", "", ("bearer", "basic"), _HEADER, REDACTED, "a header of authorization"),
    (":", "=", ("key", "passw", "secret", "token", "authorization"), _PAIR, rf"\1{REDACTED}", "a named secret"),
    ("", "", ("akia", "aiza", "ya29"), _VENDOR, REDACTED, "a key of a service"),
    (".", ".", ("eyj",), _JWT, REDACTED, "a signed token"),
    (":", ":", ("://",), _URL, rf"\1{REDACTED}", "a password in an address"),
    ("-", "_", ("k-", "k_"), _KEY, REDACTED, "a key of a service"),
    ("-", "_", _PREFIXES, _VENDOR, REDACTED, "a key of a service"),
    ("-", "-", ("private key-",), _PEM, REDACTED, "a private key"),
)
"""What to look for once one of its plain words is there, and for the words only where one of its two signs is, without
which there is nothing: looking for a sign takes less than a tenth of what a word takes, and a word a hundredth of
matching."""


def hidden(text: str) -> str:
    """The text without what might be a secret."""
    if len(text) < _SHORTEST:
        return text
    lower = text.lower()
    for sign, other, words, pattern, instead, _ in _ROWS:
        if sign in lower or other in lower:
            for word in words:  # a plain loop: `any` would be most of what a span costs
                if word in lower:
                    text = pattern.sub(instead, text)
                    break
    return text


def secrets(text: str, lower: str | None = None) -> list[Secret]:
    """The secrets that are told by their form, in order, none within another; `lower` is the text in small letters."""
    if len(text) < _SHORTEST:
        return []
    small = text.lower() if lower is None else lower
    found = sorted(_found(text, small), key=lambda one: (one.start, -one.end))
    kept: list[Secret] = []
    for one in found:
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def without_secrets(text: str) -> str:
    """The text without those that `secrets` tells; the very same where there are none."""
    kept: list[str] = []
    last = 0
    for one in secrets(text):
        kept += (text[last : one.start], REDACTED)
        last = one.end
    return "".join((*kept, text[last:])) if kept else text


@lru_cache(maxsize=2_048)
def is_secret_key(name: str) -> bool:
    """Whether a value of this name is hidden, whatever it is."""
    return bool(_SECRET_KEY.search("".join(filter(str.isalpha, name[:200])).lower()))


def _found(text: str, lower: str) -> Iterator[Secret]:
    for sign, other, words, pattern, _, kind in _ROWS:
        if (sign in lower or other in lower) and any(word in lower for word in words):
            for match in pattern.finditer(text):
                start = match.end(1) if pattern.groups else match.start()
                if _is_one(pattern, text[start : match.end()]):
                    yield Secret(start, match.end(), kind)


def _is_one(pattern: re.Pattern[str], value: str) -> bool:
    """Whether it is a secret by its form, and no word, placeholder or name of a variable."""
    if pattern is _PEM:
        return len(value) > 100
    if _GUESSED.search(value):
        return False
    if pattern is _URL:
        return len(value) >= 4
    if pattern is _VENDOR:
        return True
    if pattern is _KEY and max(map(len, re.split("[-_]", value))) < _LEAST_RUN:
        return False  # words between dashes, as addresses have them: "sk-2024-annual-report"
    figures = sum(map(str.isdigit, value))
    capitals = sum(map(str.isupper, value))
    small = sum(map(str.islower, value))
    if pattern is _PAIR:
        return len(value) >= 8 and figures > 1 and capitals + small > 2 and not set("()<>{}$").intersection(value)
    return figures > 1 or (len(value) > 30 and capitals > 1 and small > 1)
