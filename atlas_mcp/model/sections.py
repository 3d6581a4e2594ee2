"""Delimited sections of a prompt: how instructions and data are kept apart, written and read back.

A section is `<tag name="...">`, a line break, the body, a line break and `</tag>`. A body can never close its own
section or open another: what looks like one of our tags inside a body is written with `&lt;`. So data from strangers
stays data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

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
    "draft",
    "feedback",
    "lacks",
    "answer_schema",
)
_TAG = re.compile(rf"<(?=/?(?:{'|'.join(TAGS)})\b)")
_SECTION = re.compile(
    rf"<(?P<tag>{'|'.join(TAGS)})(?P<attributes>(?: [a-z_]+=\"[^\"]*\")*)>\n(?P<body>.*?)\n</(?P=tag)>", re.DOTALL
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
    return f"<{tag}{pairs}>\n{_TAG.sub('&lt;', body)}\n</{tag}>"


def sections(text: str, tag: str) -> list[Section]:
    """Every section with that tag, in order."""
    return [
        Section(m["tag"], _TAG_BACK.sub("<", m["body"]), dict(_ATTRIBUTE.findall(m["attributes"])))
        for m in _SECTION.finditer(text)
        if m["tag"] == tag
    ]


_TAG_BACK = re.compile(rf"&lt;(?=/?(?:{'|'.join(TAGS)})\b)")


def _plain(value: str) -> str:
    return re.sub(r'[<>"\n]', " ", value)
