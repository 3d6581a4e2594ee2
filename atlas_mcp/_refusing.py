"""In the place of an Atlas that cannot be opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from atlas_mcp import __version__
from atlas_mcp.model.caller import Caller
from atlas_mcp.watch.calls import CallTracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.errors import ConfigurationError


def refusing(reason: ConfigurationError) -> Atlas:
    """In the place of an Atlas that cannot be opened: every call is answered with the reason.

    A host shows its model what tools answer, and nobody what a server that has ended wrote to stderr.
    """
    return cast("Atlas", _Refusing(reason))


class _Refusing:
    version = __version__

    def __init__(self, reason: ConfigurationError) -> None:
        self._reason = reason
        self.audit = _NoRecord()

    def local_caller(self, client: str = "") -> Caller:
        return Caller(id="local:", client=client)

    def tracing_of(self, caller_id: Callable[[Any], str]) -> CallTracing:
        return CallTracing(caller_id)

    async def drain(self, seconds: float) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        raise self._reason


class _NoRecord:
    """In the place of the audit log: what cannot be opened cannot be written into, and a call must hear why."""

    def entry(self, *_: Any, **__: Any) -> None:
        return

    def note(self, _: None) -> None:
        return

    async def keep(self, _: None) -> None:
        return
