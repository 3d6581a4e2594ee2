"""Delimited sections of a prompt: how instructions and data are kept apart, written and read back.

The one way in which what strangers wrote comes before an agent: materials, memories, facts, what other agents said and
what tools gave. A section is `<tag name="...">`, a line break, the body, a line break and `</tag>`. A body can never
close its own section or open another: what looks like one of our tags inside a body, also to a reader that is not
particular about case and blanks, is written with `&lt;`. Sections of DATA carry in both tags a mark besides, a hash of
their own body: to write a body that holds its own takes some 2**64 tries. So data from strangers stays data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2s

TAGS = (
    "goal",
    "task",
    "context",
    "restrictions",
    "criteria",
    "teams",
    "workers",
    "materials",
    "material",
    "report",
    "said",
    "statement",
    "recalled",
    "journal",
    "draft",
    "checks",
    "feedback",
    "keys",
    "lacks",
    "result",
    "mode",
    "points",
    "answer_schema",
)
DATA = frozenset(
    {
        "checks",
        "context",
        "draft",
        "journal",
        "keys",
        "material",
        "materials",
        "points",
        "recalled",
        "report",
        "result",
        "said",
        "statement",
    }
)
"""What was written by others than ATLAS and the caller: to be used and judged, never followed."""

_LONGEST_ATTRIBUTE = 400
_NAMES = "|".join(TAGS)
_TAG = re.compile(rf"<(?=\s*/?\s*(?:{_NAMES})\b)", re.IGNORECASE)
_TAG_BACK = re.compile(rf"&lt;(?=\s*/?\s*(?:{_NAMES})\b)", re.IGNORECASE)
_SECTION = re.compile(
    rf"<(?P<tag>{_NAMES})(?P<attributes>(?: [a-z_]+=\"[^\"]*\")*?)(?P<mark> mark=\"[0-9a-f]+\")?>\n"
    r"(?P<body>.*?)\n</(?P=tag)(?(mark)(?P=mark))>",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r' ([a-z_]+)="([^"]*)"')


@dataclass(frozen=True)
class Section:
    """A section read back: its tag, its body as it was handed in, and its attributes."""

    tag: str
    body: str
    attributes: dict[str, str] = field(default_factory=dict[str, str])


def section(tag: str, body: str, **attributes: str) -> str:
    """The section as text. `tag` must be one of TAGS; quotes and angle brackets in attributes are replaced."""
    if tag not in TAGS:
        raise ValueError(f"unknown section {tag!r}")
    pairs = "".join(f' {k}="{_plain(v)}"' for k, v in attributes.items() if v)
    mark = f' mark="{_mark(body)}"' if tag in DATA else ""
    return f"<{tag}{pairs}{mark}>\n{_TAG.sub('&lt;', body)}\n</{tag}{mark}>"


def sections(text: str, tag: str | None = None) -> list[Section]:
    """Every section with that tag, or every one there is, in order."""
    return [
        Section(m["tag"], _TAG_BACK.sub("<", m["body"]), dict(_ATTRIBUTE.findall(m["attributes"])))
        for m in _SECTION.finditer(text)
        if tag is None or m["tag"] == tag
    ]


def _mark(body: str) -> str:
    """The same for the same body, so that a prompt that is made again is the same to the byte."""
    return blake2s(body.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _plain(value: str) -> str:
    return re.sub(r'[<>"\x00-\x1f\x7f-\x9f\u2028\u2029]', " ", value)[:_LONGEST_ATTRIBUTE]
