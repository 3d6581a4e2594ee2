"""The user's file of MCP servers, in the form that hosts know: `mcpServers`, by name.

Promise: what cannot be used is told with the file, the server and the key, and what would be right; it never keeps the
other servers from being used. Nothing of `env` and `headers` is in a `repr` or in an error.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Transport = Literal["stdio", "http", "sse"]
_TYPES: dict[str, Transport] = {"stdio": "stdio", "http": "http", "streamable-http": "http", "sse": "sse"}
_TYPES["streamableHttp"] = "http"
_OVER: dict[Transport, str] = {"stdio": "a command", "http": "an address", "sse": "an address"}
_KEYS = ("command", "args", "env", "cwd", "url", "headers", "type", "disabled", "timeout", "shared", "oauth")
_TOPS = ("mcpServers", "servers")
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_OTHER_VARIABLE = re.compile(r"\$\{[^}]*\}")
_LONGEST_NAME = 40


@dataclass(frozen=True)
class ServerConfig:
    """One server, as the user's file has it, with variables filled in.

    `seconds` is how long a call may be silent; one that is `shared` is for all callers, not only for the home's owner.
    `client_id` is who ATLAS is where people log in, if its user entered it there by hand; they come back from there to
    the `callback_port` of this machine, 0 for any.
    """

    name: str
    transport: Transport
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    disabled: bool = False
    seconds: float = 60.0
    shared: bool = False
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    callback_port: int = 0

    @property
    def plain_name(self) -> str:
        """Its name, of letters, digits, `_` and `-` alone: no two servers of a file have the same."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.name)

    @property
    def prefix(self) -> str:
        """How the names of its tools begin."""
        return f"{self.plain_name}_"

    @property
    def shown(self) -> str:
        """What may be told of where it is: the command without arguments, or the address without what may be secret."""
        if self.transport == "stdio":
            return self.command
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


@dataclass(frozen=True)
class ServersFile:
    """What a file says: the servers that can be used, and what is wrong with the others, by name ("" for the file).

    One that `has_values` may hold keys: something stands in it that programs or servers are given, as it is.
    """

    path: Path | None = None
    servers: tuple[ServerConfig, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    has_values: bool = False

    @property
    def exposed(self) -> bool:
        """Whether other users of the machine can read keys that it may hold."""
        try:
            return self.has_values and os.name == "posix" and bool(self.path and self.path.stat().st_mode & 0o044)
        except OSError:
            return False


class _WrongError(Exception):
    """Raised when something in the file cannot be used; the text names the key, and what would be right."""


def read_servers(path: Path, variables: Callable[..., Mapping[str, str]]) -> ServersFile:
    """The servers of that file. `variables` gives those of the named environment variables that are set."""
    try:
        servers = _servers(path)
    except _WrongError as wrong:
        return ServersFile(path, problems={"": f"{path}: {wrong}"})
    found: list[ServerConfig] = []
    problems: dict[str, str] = {}
    for name, entry in servers.items():
        try:
            server = _server(name, entry, variables)
            if twin := next((s.name for s in found if s.plain_name == server.plain_name), None):
                raise _WrongError(f"its tools would be called like those of {twin!r}; give one of the two another name")
            found.append(server)
        except _WrongError as wrong:
            problems[name] = f"{path}, server {name!r}: {wrong}."
    return ServersFile(path, tuple(found), problems, any(map(_has_values, servers.values())))


def _has_values(entry: object) -> bool:
    given = _object(entry) or {}
    tables = [_object(given.get(key)) or {} for key in ("env", "headers", "oauth")]
    values = [str(value) for table in tables for key, value in table.items() if key not in ("clientId", "callbackPort")]
    address = str(given.get("url", ""))
    return any(not _VARIABLE.search(value) for value in values) or "@" in address or "?" in address


def _servers(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _WrongError(f"it cannot be read: {(error.strerror or str(error)).lower()}.") from None
    except json.JSONDecodeError as error:
        hint = " Comments are not JSON: take them out." if "//" in error.doc or "/*" in error.doc else ""
        raise _WrongError(f"line {error.lineno}, column {error.colno}: it is no JSON: {error.msg}.{hint}") from None
    except ValueError as error:
        raise _WrongError(f"it cannot be read: {error}.") from None
    tops = [top for top in _TOPS if isinstance(content, dict) and top in content]
    servers = _object(cast("dict[str, Any]", content)[tops[0]]) if tops else None
    if servers is None:
        raise _WrongError('it must be an object with the key "mcpServers", which holds the servers by name.')
    return servers


def _object(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _server(name: str, entry: Any, variables: Callable[..., Mapping[str, str]]) -> ServerConfig:
    if not re.search(r"[A-Za-z0-9]", name) or len(name) > _LONGEST_NAME:
        raise _WrongError(f"its name must have a letter or digit, and {_LONGEST_NAME} characters at the most")
    if (given := _object(entry)) is None:
        raise _WrongError('it must be an object, such as {"command": "npx", "args": ["-y", "some-server"]}')
    _check_keys(given)
    transport = _transport(given)

    def text(key: str) -> str:
        value = given.get(key, "")
        if not isinstance(value, str):
            raise _WrongError(f"{key} must be a text")
        return _filled(key, value, variables)

    def table(key: str) -> dict[str, str]:
        pairs: dict[str, Any] | None = _object(given.get(key) or {})
        if pairs is None or not all(isinstance(v, str) for v in pairs.values()):
            raise _WrongError(f"{key} must be an object of texts")
        return {k: _filled(f"{key}, {k}", v, variables) for k, v in pairs.items()}

    args = cast("list[Any] | None", given.get("args")) or []
    if type(args) is not list or not all(isinstance(a, str) for a in args):
        raise _WrongError("args must be a list of texts, one for each argument")
    disabled, shared, timeout = given.get("disabled", False), given.get("shared", False), given.get("timeout", 60_000)
    for key, value in (("disabled", disabled), ("shared", shared)):
        if not isinstance(value, bool):
            raise _WrongError(f"{key} must be true or false")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 1_000 <= timeout <= 600_000:
        raise _WrongError("timeout must be a number of milliseconds from 1,000 to 600,000")
    oauth = _oauth(given)
    if disabled:  # what it needs need not be set while it is off
        return ServerConfig(name, transport, disabled=True)
    return ServerConfig(
        name,
        transport,
        command=text("command"),
        args=tuple(_filled("args", a, variables) for a in args),
        env=table("env"),
        cwd=text("cwd") or None,
        url=_address(text("url")) if transport != "stdio" else "",
        headers=table("headers"),
        seconds=timeout / 1000,
        shared=shared,
        client_id=_filled("oauth, clientId", oauth.get("clientId", ""), variables),
        client_secret=_filled("oauth, clientSecret", oauth.get("clientSecret", ""), variables),
        callback_port=oauth.get("callbackPort", 0),
    )


def _oauth(given: dict[str, Any]) -> dict[str, Any]:
    oauth = _object(given.get("oauth") or {})
    if oauth is None or not all(isinstance(oauth.get(key, ""), str) for key in ("clientId", "clientSecret")):
        raise _WrongError("oauth must be an object with the texts clientId and, if there is one, clientSecret")
    port = oauth.get("callbackPort", 0)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise _WrongError("oauth, callbackPort: it must be the number of a port of this machine")
    return oauth


def _check_keys(given: dict[str, Any]) -> None:
    """Refuse what is most likely a slip; other keys are other hosts' own, and left to them."""
    for key in given:
        if key not in _KEYS and (close := get_close_matches(key, _KEYS, n=1, cutoff=0.75)):
            raise _WrongError(f"there is no key {key!r}; {close[0]!r} may be meant")


def _transport(given: dict[str, Any]) -> Transport:
    named = given.get("type", "http" if "url" in given and "command" not in given else "stdio")
    if not isinstance(named, str) or named not in _TYPES:
        raise _WrongError(f"type is {named!r}; it may be stdio, http, streamable-http or sse")
    transport = _TYPES[named]
    needed, other = ("command", "url") if transport == "stdio" else ("url", "command")
    if needed == "url" and "url" not in given and "serverUrl" in given:
        raise _WrongError("serverUrl is called url here")
    if not given.get(needed):
        raise _WrongError(f"{needed} is missing: a server of type {named} has {_OVER[transport]}")
    if given.get(other):
        raise _WrongError(f"it has both command and url; a server of type {named} has only {needed}")
    return transport


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise _WrongError("url must be an address that begins with http:// or https://")
    return url


def _filled(key: str, text: str, variables: Callable[..., Mapping[str, str]]) -> str:
    """The text with `${NAME}`, `${env:NAME}` and `${NAME:-otherwise}` replaced."""

    def value(match: re.Match[str]) -> str:
        name: str = match[1]
        otherwise: str | None = match[2]
        found = variables(name).get(name, otherwise)
        if found is None:
            raise _WrongError(
                f"{key}: the environment variable {name} is not set; set it, or write ${{{name}:-otherwise}}"
            )
        return found

    if strange := next((m[0] for m in _OTHER_VARIABLE.finditer(text) if not _VARIABLE.fullmatch(m[0])), None):
        raise _WrongError(
            f"{key}: {strange} is nothing that ATLAS fills in; it knows ${{NAME}} and ${{NAME:-otherwise}}"
        )
    return _VARIABLE.sub(value, text)
