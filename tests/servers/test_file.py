"""The user's file of servers is read as hosts read theirs, and what is wrong in it is said with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.reach.servers.config import ServerConfig, ServersFile, read_servers
from atlas_mcp.reach.servers.rooms import rooms_of

if TYPE_CHECKING:
    from pathlib import Path

SET = {"TOKEN": "t0ken", "HOME": "/home/ann"}


def read(folder: Path, content: Any) -> ServersFile:
    path = folder / "mcp.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_servers(path, lambda *names: {name: SET[name] for name in names if name in SET})


def one(folder: Path, **entry: Any) -> ServerConfig:
    found = read(folder, {"mcpServers": {"s": entry}})
    assert not found.problems
    return found.servers[0]


def problem(folder: Path, name: str = "s", **entry: Any) -> str:
    return read(folder, {"mcpServers": {name: entry}}).problems[name]


def test_a_program_is_read_with_its_variables_filled_in(tmp_path: Path) -> None:
    env = {"KEY": "${TOKEN}", "PLACE": "${env:HOME}/x", "MODE": "${MODE:-fast}"}
    server = one(tmp_path, command="npx", args=["-y", "pkg", "${HOME}"], env=env, cwd="${HOME}")
    assert (server.transport, server.command, server.args) == ("stdio", "npx", ("-y", "pkg", "/home/ann"))
    assert server.env == {"KEY": "t0ken", "PLACE": "/home/ann/x", "MODE": "fast"}
    assert server.cwd == "/home/ann"


@pytest.mark.parametrize(
    ("given", "transport"),
    [(None, "http"), ("http", "http"), ("streamable-http", "http"), ("streamableHttp", "http"), ("sse", "sse")],
)
def test_an_address_is_read_in_each_form(tmp_path: Path, given: str | None, transport: str) -> None:
    kind = {"type": given} if given else {}
    server = one(tmp_path, url="https://x.example/mcp?key=${TOKEN}", headers={"A": "Bearer ${TOKEN}"}, **kind)
    assert (server.transport, server.headers) == (transport, {"A": "Bearer t0ken"})
    assert server.shown == "https://x.example/mcp"
    assert "t0ken" not in repr(server)


def test_the_file_of_vs_code_is_read_and_keys_of_other_hosts_are_left_to_them(tmp_path: Path) -> None:
    found = read(tmp_path, {"servers": {"a": {"command": "x", "autoApprove": ["b"], "dev": {}}}, "inputs": []})
    assert [server.name for server in found.servers] == ["a"]


def test_a_disabled_server_needs_none_of_its_variables(tmp_path: Path) -> None:
    assert one(tmp_path, command="x", env={"A": "${NOT_SET}"}, disabled=True).disabled


def test_a_broken_entry_keeps_no_other_from_being_used(tmp_path: Path) -> None:
    found = read(tmp_path, {"mcpServers": {"good": {"command": "x"}, "bad": {"command": 5}}})
    assert [server.name for server in found.servers] == ["good"]
    assert found.problems["bad"] == f"{tmp_path / 'mcp.json'}, server 'bad': command must be a text."


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "command is missing: a server of type stdio has a command"),
        ({"type": "http"}, "url is missing: a server of type http has an address"),
        ({"url": "x.example/mcp"}, "url must be an address that begins with http:// or https://"),
        ({"type": "sse", "serverUrl": "https://x"}, "serverUrl is called url here"),
        ({"command": "x", "url": "https://x.example"}, "it has both command and url"),
        ({"command": "x", "type": "websocket"}, "type is 'websocket'; it may be stdio, http, streamable-http or sse"),
        ({"comand": "x"}, "there is no key 'comand'; 'command' may be meant"),
        ({"url": "https://x.example", "header": {}}, "there is no key 'header'; 'headers' may be meant"),
        ({"command": "x", "args": "-y pkg"}, "args must be a list of texts, one for each argument"),
        ({"command": "x", "env": {"A": 1}}, "env must be an object of texts"),
        ({"url": "https://x.example", "oauth": {"clientId": 5}}, "oauth must be an object with the texts clientId"),
        ({"url": "https://x.example", "oauth": {"callbackPort": "x"}}, "it must be the number of a port"),
        ({"command": "x", "timeout": 5}, "timeout must be a number of milliseconds from 1,000 to 600,000"),
        ({"command": "x", "disabled": "no"}, "disabled must be true or false"),
        ({"command": "x", "env": {"A": "${NOT_SET}"}}, "env, A: the environment variable NOT_SET is not set"),
        ({"command": "${input:key}"}, "command: ${input:key} is nothing that ATLAS fills in"),
    ],
)
def test_what_is_wrong_is_said_with_server_and_key(tmp_path: Path, entry: dict[str, Any], says: str) -> None:
    text = problem(tmp_path, **entry)
    assert f"{tmp_path / 'mcp.json'}, server 's': " in text
    assert says in text


@pytest.mark.parametrize(
    ("entry", "mode", "told"),
    [
        ({"command": "x", "env": {"KEY": "s3cret"}}, 0o644, True),
        ({"url": "https://x.example/mcp", "headers": {"Authorization": "Bearer s3cret"}}, 0o640, True),
        ({"url": "https://x.example/mcp?key=s3cret"}, 0o604, True),
        ({"url": "https://x.example/mcp", "oauth": {"clientId": "a", "clientSecret": "s3cret"}}, 0o644, True),
        ({"command": 5, "env": {"KEY": "s3cret"}}, 0o644, True),  # one that cannot be used is read all the same
        ({"command": "x", "env": {"KEY": "s3cret"}}, 0o600, False),
        ({"url": "https://x.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}, 0o644, False),
        ({"command": "x", "oauth": {"clientId": "a", "callbackPort": 80}}, 0o644, False),
    ],
)
def test_keys_that_other_users_can_read_are_told(tmp_path: Path, entry: dict[str, Any], mode: int, told: bool) -> None:
    found = read(tmp_path, {"mcpServers": {"s": entry}})
    path = tmp_path / "mcp.json"
    path.chmod(mode)
    steps = [room.next_step for room in rooms_of(found, tmp_path, None)]
    assert (f"Close it: chmod 600 '{path}'" in steps) == told
    path.chmod(0o600)
    assert not found.exposed


def test_two_servers_whose_tools_would_be_called_alike_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, {"mcpServers": {"my files": {"command": "x"}, "my_files": {"command": "x"}}})
    assert "its tools would be called like those of 'my files'" in found.problems["my_files"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"mcpServers": {,}}', "line 1, column 17: it is no JSON"),
        ('// mine\n{"mcpServers": {}}', "Comments are not JSON: take them out."),
        ("[]", 'it must be an object with the key "mcpServers"'),
        ('{"mcpServers": []}', 'it must be an object with the key "mcpServers"'),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_the_place(tmp_path: Path, content: str, says: str) -> None:
    assert says in read(tmp_path, content).problems[""]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = read_servers(tmp_path / "none.json", lambda *names: {})
    assert found.problems[""] == f"{tmp_path / 'none.json'}: it cannot be read: no such file or directory."
