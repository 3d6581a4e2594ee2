"""Editing a file that people write by hand: one thing changes, and every other character stays."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_mcp.cli.install_edit import drop, get, put
from atlas_mcp.cli.install_jsonc import parse
from atlas_mcp.errors import InvalidInput

ENTRY = {"type": "stdio", "command": "/opt/python", "args": ["-m", "atlas_mcp", "serve"], "env": {"A": "b"}}
COMMENTS = re.compile(r"// (?:one|three)|/\* (?:two|four)\s+\*/")

gaps = st.sampled_from(["", " ", "\n", "\n  ", "\r\n\t", " // one\n", "/* two */", "\n// three\n  ", " /* four\n */\n"])
names = st.sampled_from(["servers", "atlas", "other", 'a "quoted" name', "ü", "//x"])
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


def is_plain(text: str) -> bool:
    """Whether it is JSON without comments and without commas too many."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


@st.composite
def documents(draw: st.DrawFn, depth: int = 0) -> str:
    """A JSON document as somebody may have written it, with white space, comments and commas anywhere they may be."""
    kind = draw(st.sampled_from(["object", "array", "plain"])) if depth else "object"
    if kind == "plain" or depth > 2:
        return json.dumps(draw(plain), ensure_ascii=draw(st.booleans()))
    parts = draw(st.lists(st.tuples(names, documents(depth=depth + 1), gaps, gaps, gaps), max_size=3))
    if kind == "object":
        parts = [*{part[0]: part for part in parts}.values()]
    written = [
        f"{before}{f'{json.dumps(name)}{between}: ' if kind == 'object' else ''}{value}{after}"
        for name, value, before, between, after in parts
    ]
    end = "," if parts and draw(st.booleans()) else ""
    brackets = "{}" if kind == "object" else "[]"
    return f"{draw(gaps)}{brackets[0]}{','.join(written)}{end}{draw(gaps)}{brackets[1]}{draw(gaps)}"


@settings(max_examples=200)
@given(documents())
def test_whatever_the_file_looks_like_only_what_was_asked_for_changes(text: str) -> None:
    before = parse(text)
    assert before is not None
    if not isinstance(before.value.get("servers", {}), dict):
        with pytest.raises(InvalidInput, match="servers is no object"):
            put(text, ["servers", "atlas"], ENTRY)
        return
    with_it = put(text, ["servers", "atlas"], ENTRY)
    expected = {**before.value, "servers": {**before.value.get("servers", {}), "atlas": ENTRY}}
    assert get(with_it, []) == expected
    assert put(with_it, ["servers", "atlas"], ENTRY) == with_it, "the same again changes nothing"
    without = drop(with_it, ["servers", "atlas"])
    del expected["servers"]["atlas"]
    assert get(without, []) == expected
    if is_plain(text):
        assert is_plain(with_it), "some hosts read nothing but plain JSON"
        assert is_plain(without)
    if "atlas" not in before.value.get("servers", {}):
        assert COMMENTS.findall(text) == COMMENTS.findall(without), "no comment is lost"
    assert drop(without, ["servers", "atlas"]) == without


@settings(max_examples=100)
@given(documents())
def test_an_item_is_added_to_a_list_and_taken_out_of_it(text: str) -> None:
    before = get(text, ["other"])
    if not isinstance(before, list):
        return
    longer = put(text, ["other", len(before)], {"id": "new"})
    assert get(longer, ["other"]) == [*before, {"id": "new"}]
    assert get(drop(longer, ["other", len(before)]), []) == get(text, [])


@pytest.mark.parametrize("text", ["", "\n", "// mine\n", "\ufeff"])
def test_a_file_with_nothing_in_it_gets_a_document(text: str) -> None:
    assert get(put(text, ["servers", "atlas"], ENTRY), []) == {"servers": {"atlas": ENTRY}}
    assert put(text, ["servers", "atlas"], ENTRY).startswith(text)


def test_the_style_of_the_file_is_kept() -> None:
    text = '{\r\n\t"servers": {\r\n\t\t"x": {"url": "y"} // mine\r\n\t}\r\n}\r\n'
    made = put(text, ["servers", "atlas"], {"command": "c"})
    assert made == (
        '{\r\n\t"servers": {\r\n\t\t"x": {"url": "y"}, // mine\r\n'
        '\t\t"atlas": {\r\n\t\t\t"command": "c"\r\n\t\t}\r\n\t}\r\n}\r\n'
    )
    assert drop(made, ["servers", "atlas"]) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: a "," or "}" should stand here'),
        ('{"a": }', "line 1, column 7: this is no JSON value"),
        ('{"a": 1', 'line 1, column 8: a "," or "}" should stand here'),
        ('{"a" 1}', 'line 1, column 6: a ":" should stand here'),
        ("{\n  'a': 1}", "line 2, column 3: a name in quotes"),
        ('{"a": "x\ny"}', "line 1, column 7: a string begins here and does not end"),
        (r'{"a": "\q"}', "line 1, column 7: this string has an escape"),
        ('{"a": 01}', "line 1, column 7: this is no JSON value"),
        ("{} {}", "line 1, column 4: something follows"),
        ("{} /* x", "line 1, column 4: a comment begins here and does not end"),
        ('{"a": 1,\n "a": 2}', "line 2, column 2: 'a' stands twice"),
        ('{"a": ' + "[" * 200, "it is nested too deeply"),
        ('{"a":', "the document ends where a value should stand"),
    ],
)
def test_what_is_no_json_is_told_with_line_and_column(text: str, words: str) -> None:
    for edit in (lambda: put(text, ["servers", "atlas"], 1), lambda: drop(text, ["servers", "atlas"])):
        with pytest.raises(InvalidInput) as told:
            edit()
        assert words in str(told.value)
