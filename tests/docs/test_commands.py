"""What the pages name exists: commands with their options, settings, tools; what they show as data parses and loads."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from typing import Any, cast

import pytest
import typer.main

from atlas_mcp.cli.app import app
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.server.app import tools_of
from atlas_mcp.settings import PROVIDER_VARIABLES, Settings, load_settings
from tests.docs.blocks import PAGES, README, Block, all_blocks, blocks_of

TEXTS = {page: page.read_text(encoding="utf-8") for page in (README, *PAGES)}
LANGUAGES = {"bash", "sh", "python", "json", "jsonc", "toml", "yaml", "text"}
COMMAND = re.compile(r"\batlas-mcp(?=\s|$)(?!\s*[|)])")
NOT_OURS = {
    *("LETTA_SERVER_PASSWORD", "LETTA_DISABLE_SQLALCHEMY_POOLING", "LETTA_PG_URI"),  # of a Letta server
    "ATLAS_KEY",  # by which a host's file refers to a key that its user has
}
"""Variables of other programs, which the pages may name."""


def commands(text: str) -> list[list[str]]:
    """The words after `atlas-mcp` of each call in a shell's text, as far as the call goes."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        for part in COMMAND.split(line.split(" #")[0])[1:]:
            words = shlex.split(re.split(r"[|;&<>)]", part.replace("$(", ""))[0])
            found.append(words)
    return found


def parse(words: list[str]) -> None:
    """Hold a call against the command line's own parser; nothing is executed."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("atlas-mcp", list(words))
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


def test_every_block_says_what_it_is() -> None:
    odd = [block.place for page in PAGES for block in blocks_of(page) if block.language not in LANGUAGES]
    assert odd == []


SHELL = [block for block in all_blocks("sh", "bash") if COMMAND.search(block.text)]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_commands_and_options_exist(block: Block) -> None:
    for words in commands(block.text):
        parse(words)


def test_a_command_that_does_not_exist_is_found_out() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["serve", "--htp"])
    with pytest.raises(Exception, match="No such command"):
        parse(["sing"])


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_commands_named_in_the_text_exist(page: Any) -> None:
    names = {path for path, _ in _every_command()}
    for quoted in re.findall(r"`atlas-mcp ([a-z][^`]*)`", TEXTS[page]):
        words = quoted.split()
        path = "atlas-mcp"
        for word in words:
            if f"{path} {word}" not in names:
                break
            path = f"{path} {word}"
        assert path != "atlas-mcp", f"{page.name}: atlas-mcp {quoted}"
        options = re.findall(r"(?<!\S)--[a-z-]+", quoted)
        known = {option for name, command in _every_command() if name == path for option in _options(command)}
        assert set(options) <= known, f"{page.name}: atlas-mcp {quoted}"


def _every_command() -> list[tuple[str, Any]]:
    def below(path: str, command: Any) -> list[tuple[str, Any]]:
        inner = getattr(command, "commands", {})
        return [(path, command), *(one for name, c in inner.items() for one in below(f"{path} {name}", c))]

    return below("atlas-mcp", typer.main.get_command(app))


def _options(command: Any) -> list[str]:
    return ["--help", *(word for one in command.params for word in (*one.opts, *one.secondary_opts))]


def test_every_setting_that_is_named_exists() -> None:
    known = {str(field.validation_alias or f"ATLAS_{name.upper()}") for name, field in Settings.model_fields.items()}
    for page, text in TEXTS.items():
        named = set(re.findall(r"\b(?:ATLAS|LETTA|MLFLOW)_[A-Z_]+[A-Z]\b", text))
        unknown = named - known - NOT_OURS - set(PROVIDER_VARIABLES)
        unknown = {name for name in unknown if not any(one.startswith(f"{name}_") for one in known)}
        assert unknown == set(), page.name


def test_every_tool_that_is_called_exists_and_takes_these_arguments() -> None:
    tools = {tool.name: tool.parameters["properties"] for tool in tools_of(cast("Any", None), "stdio", "all")}
    for block in all_blocks("text"):
        for name, given in re.findall(r"^([a-z_]+)\((.*)\)", block.text, re.MULTILINE):
            assert name in tools, f"{block.place}: {name}"
            outside = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", given)
            wrong = set(re.findall(r"(\w+)=", outside)) - set(tools[name])
            assert wrong == set(), f"{block.place}: {name} takes no {wrong}"


@pytest.mark.parametrize("block", all_blocks("json", "toml"), ids=lambda block: block.place)
def test_data_parses_and_loads(block: Block, tmp_path: Any) -> None:
    if block.language == "json":
        json.loads(block.text)
        return
    tomllib.loads(block.text)
    if block.title == "settings.toml":
        (tmp_path / "settings.toml").write_text(block.text, encoding="utf-8")
        load_settings(home=tmp_path)
    if block.title == "roster.toml":
        for other in blocks_of(block.page):
            if other.title and other.title.startswith("personas/"):
                (tmp_path / "personas").mkdir(exist_ok=True)
                (tmp_path / other.title).write_text(other.text, encoding="utf-8")
        (tmp_path / "roster.toml").write_text(block.text, encoding="utf-8")
        assert load_roster(tmp_path / "roster.toml").agents
