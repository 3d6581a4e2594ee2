"""The hosts that `install` knows: where each keeps its list of servers, what it calls it, and how an entry looks there.

Nothing here touches a file but to see which folders there are: everything about the machine is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from atlas_mcp.errors import InvalidInput

HostName = Literal["claude-desktop", "claude-code", "cursor", "vscode"]
NAME = "atlas"
"""What the server is called in hosts' files."""
MODULE = ["-m", "atlas_mcp", "serve"]
VARIABLES = ("APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR")
"""The variables that say where hosts keep their files."""
_SECRET = ("_KEY", "_TOKEN", "_PASSWORD", "_SECRET", "_URL", "_HEADERS")
_PLAIN_URLS = ("LETTA_BASE_URL", "ATLAS_MODEL_BASE_URL", "ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")


@dataclass(frozen=True)
class Machine:
    """What decides where hosts keep their files: the platform as in `sys.platform`, the user's folder, variables."""

    platform: str
    home: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def config(self) -> Path:
        """Where programs with windows keep what their user has set."""
        if self.platform == "win32":
            return self._folder("APPDATA", self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return self._folder("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def claude_desktop(self) -> Path:
        """Claude Desktop's folder; on Windows that of the packaged program where it is there, which sees no other."""
        if self.platform == "win32":
            packages = self._folder("LOCALAPPDATA", self.home / "AppData" / "Local") / "Packages"
            for package in sorted(packages.glob("Claude_*")):
                return package / "LocalCache" / "Roaming" / "Claude"
        return self.config / "Claude"

    @property
    def claude_code(self) -> Path:
        """The folder of Claude Code's own file."""
        return self._folder("CLAUDE_CONFIG_DIR", self.home)

    def _folder(self, variable: str, otherwise: Path) -> Path:
        given = self.variables.get(variable)
        return Path(given).expanduser() if given else otherwise


@dataclass(frozen=True)
class Host:
    """One program that starts servers, and how its file looks."""

    name: HostName
    title: str
    servers: str
    """What its file calls the list of servers."""
    project_file: tuple[str, ...] | None
    reference: str | None
    """How an entry refers to a variable of the host's own environment; None where it must hold the value itself."""
    then: str
    """What its user does next."""
    typed: bool = False
    """Whether an entry says that it is over stdio."""


HOSTS: dict[str, Host] = {
    host.name: host
    for host in (
        Host(
            "claude-desktop", "Claude Desktop", "mcpServers", None, None,
            "Quit Claude Desktop and start it again; the tools are under the + beside the message.",
        ),
        Host(
            "claude-code", "Claude Code", "mcpServers", (".mcp.json",), "${%s}",
            "Start claude anew; /mcp shows the server.", typed=True,
        ),
        Host(
            "cursor", "Cursor", "mcpServers", (".cursor", "mcp.json"), "${env:%s}",
            "Cursor sees it at once; Settings, MCP shows the server.",
        ),
        Host(
            "vscode", "VS Code", "servers", (".vscode", "mcp.json"), "${input:%s}",
            "In VS Code run MCP: List Servers and start atlas.", typed=True,
        ),
    )
}  # fmt: skip


def file_of(host: Host, machine: Machine, project: Path | None) -> Path:
    """The host's file for its user, or for the project in that folder.

    InvalidInput for a host that knows no projects, and for a folder that is none.
    """
    if project is not None:
        if host.project_file is None:
            able = ", ".join(name for name, one in HOSTS.items() if one.project_file)
            raise InvalidInput(
                f"{host.title} has no file for a project.",
                argument="--project",
                next_step=f"Leave it out, or choose one of {able}.",
            )
        if not project.is_dir():
            raise InvalidInput(f"{project} is no folder.", argument="--project", next_step="Name the project's folder.")
        return project.joinpath(*host.project_file)
    match host.name:
        case "claude-desktop":
            return machine.claude_desktop / "claude_desktop_config.json"
        case "claude-code":
            return machine.claude_code / ".claude.json"
        case "cursor":
            return machine.home / ".cursor" / "mcp.json"
        case "vscode":
            return machine.config / "Code" / "User" / "mcp.json"


def is_secret(variable: str) -> bool:
    """Whether a variable's value is nobody's to read in a file: a key, a password, an address that may hold one."""
    return variable.endswith(_SECRET) and variable not in _PLAIN_URLS


def entry(host: Host, python: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The server as the host's file has it. Secrets are only referred to, by every host that can do so."""
    made: dict[str, Any] = {"type": "stdio"} if host.typed else {}
    made |= {"command": python, "args": list(MODULE)}
    if variables:
        made["env"] = {name: _written(host, name, value) for name, value in variables.items()}
    return made


def inputs(host: Host, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """What VS Code is to ask its user for, once; it keeps the answers as secrets."""
    if host.name != "vscode":
        return []
    return [
        {"type": "promptString", "id": _input(name), "description": f"{name} for ATLAS", "password": True}
        for name in variables
        if is_secret(name)
    ]


def holds_secret(host: Host, variables: Mapping[str, str]) -> list[str]:
    """The variables whose secret values stand in the host's file."""
    return [name for name in variables if is_secret(name) and host.reference is None]


def _written(host: Host, name: str, value: str) -> str:
    if not is_secret(name) or host.reference is None:
        return value
    return host.reference % (_input(name) if host.name == "vscode" else name)


def _input(name: str) -> str:
    return f"{NAME}-{name.lower().replace('_', '-')}"
