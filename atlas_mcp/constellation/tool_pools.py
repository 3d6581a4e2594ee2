"""The matrix of roles and tool pools, read from `tool_pools.toml`."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.model._base import Frozen

if TYPE_CHECKING:
    from atlas_mcp.model.agent import AgentSpec

_FILE = Path(__file__).with_name("tool_pools.toml")


class RolePools(Frozen):
    """What a role has without being given it, may be given, and has when nobody says."""

    always: tuple[str, ...]
    may: tuple[str, ...]
    default: tuple[str, ...]


class PoolMatrix(Frozen):
    """The whole matrix; `pools` says of each pool what it is for, `addable` how a tool that is absent is added."""

    pools: dict[str, str]
    roles: dict[str, RolePools]
    teams: dict[str, tuple[str, ...]]
    addable: dict[str, str]

    def of(self, agent: AgentSpec) -> frozenset[str]:
        """The pools the agent has. A pool that its role may not have is left out, whatever the roster says."""
        role = self.roles[agent.role]
        wanted = agent.pools or (*role.default, *self.teams.get(agent.team or "", ()))
        return frozenset(role.always) | (frozenset(wanted) & frozenset(role.may))


@functools.cache
def pool_matrix() -> PoolMatrix:
    """The matrix."""
    return PoolMatrix.model_validate(tomllib.loads(_FILE.read_text(encoding="utf-8")))
