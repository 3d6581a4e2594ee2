"""The page on messages: every error that people meet is in it, and what it quotes is really said by the program."""

from __future__ import annotations

import ast
import re
from functools import cache

from atlas_mcp import errors
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
INSIDE_ONLY = {"AtlasError", "RunLost", "Waiting"}
"""Raised inside of ATLAS, or only as one of the others."""


def classes() -> set[str]:
    found = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.AtlasError)}
    return found - INSIDE_ONLY


@cache
def said() -> list[str]:
    """Every text in the program's source, with a mark where something is put in."""
    texts = [str(unknown("ann", ["ben"])) for unknown in (errors.UnknownAgent, errors.UnknownTeam, errors.UnknownGroup)]
    texts.append(str(errors.UnknownBlock("hopes", "ann", ["persona"])))
    for path in (ROOT / "atlas_mcp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values)
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def is_said(message: str) -> bool:
    pieces = [piece.strip() for piece in message.split("…") if piece.strip(" .:,")]
    return any(has_in_order(text, pieces) for text in said())


def has_in_order(text: str, pieces: list[str]) -> bool:
    at = 0
    for piece in pieces:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def quoted() -> list[str]:
    """What the first column of the tables shows as words of the program: more than a name or a command."""
    shown = [text for row in ROWS for text in re.findall(r"`([^`]+)`", row[0])]
    return [text for text in shown if " " in text and not text.startswith("atlas-mcp")]


def test_every_error_that_people_meet_is_told() -> None:
    told = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", PAGE))
    assert classes() <= told, sorted(classes() - told)


def test_what_is_quoted_is_what_the_program_says() -> None:
    messages = quoted()
    assert len(messages) > 50
    assert [message for message in messages if not is_said(message)] == []


def test_no_error_is_named_that_is_none() -> None:
    named = {name for row in ROWS for name in re.findall(r"` ([A-Z]\w+)", row[0])}
    assert named <= classes(), sorted(named - classes())


def test_what_nobody_says_is_found_out() -> None:
    assert is_said("there is no agent …") is is_said("characters is too long: the limit is …") is True
    assert is_said("the moon is … away") is False
