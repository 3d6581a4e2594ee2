"""How each Letta is found: reachable or not, its version, what it can do, which models it has, and what to mend.

Each server is asked anew, all at once and none for longer than ASK_SECONDS; nothing is opened for it, and nothing that
is open is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError, LettaUnavailable
from atlas_mcp.letta.states import Abilities
from atlas_mcp.model.server import EMBEDDED, Server, ServerInfo
from atlas_mcp.models.served import ServedModels
from atlas_mcp.store.files import look as look_at_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp._keeper import RoomsKeeper

ASK_SECONDS = 8.0


async def survey(keeper: RoomsKeeper) -> list[ServerInfo]:
    """Every Letta that is configured, in that order, as it is found now."""
    found: dict[str, ServerInfo] = {}

    async def ask(server: Server) -> None:
        found[server.name] = await _asked(keeper, server)

    async with anyio.create_task_group() as tasks:
        for server in keeper.servers:
            tasks.start_soon(ask, server)
    return [found[server.name] for server in keeper.servers]


async def counted(keeper: RoomsKeeper, servers: Sequence[ServerInfo]) -> list[ServerInfo]:
    """The same with how many constellations each has; and each that is no longer configured and still has some."""
    from atlas_mcp.letta import placement

    async with (await keeper.rooms()).record.read() as db:
        counts = await placement.counted(db)
    known = {server.name for server in servers}
    others = [_unknown(name) for name in counts if name not in known]
    return [s.model_copy(update={"constellations": counts.get(s.name, 0)}) for s in (*servers, *others)]


async def _asked(keeper: RoomsKeeper, server: Server) -> ServerInfo:
    if server.kind == "embedded":
        return _embedded(keeper, server)
    try:
        with anyio.fail_after(ASK_SECONDS):
            abilities = await _look(server)
    except TimeoutError:
        silence = LettaUnavailable(
            f"{server.shown}: no answer within {ASK_SECONDS:g} s.", next_step="Start it, or mend its address."
        )
        return _info(server, reachable=False, error=silence)
    except AtlasError as error:
        return _info(server, reachable=not isinstance(error, LettaUnavailable), error=error)
    served = ServedModels(keeper.model_config, keeper.settings.letta_model, abilities.models, server.shown)
    try:
        from atlas_mcp.letta.connect import embedding_handle

        served.check()
        embedding_handle(abilities, keeper.settings.letta_embedding_model, server)
    except AtlasError as error:
        return _info(server, abilities, error=error)
    return _info(server, abilities, model=served.handle("supervisor", "interactive"))


async def _look(server: Server) -> Abilities:
    from atlas_mcp.letta.breaker import Breaker, BreakingClient
    from atlas_mcp.letta.probing import look

    async with BreakingClient(Breaker(server.shown), f"{server.base_url}/v1/health/") as http:
        return await look(http, server)


def _embedded(keeper: RoomsKeeper, server: Server) -> ServerInfo:
    from atlas_mcp.embedded.app import VERSION

    models = keeper.local_models
    abilities = Abilities(VERSION, enforces_limits=True, models=tuple(models.handles()))
    return _info(
        server, abilities, model=models.handle("supervisor", "interactive"), error=look_at_file(keeper.home.letta)
    )


def _info(
    server: Server,
    abilities: Abilities | None = None,
    *,
    reachable: bool = True,
    model: str | None = None,
    error: AtlasError | None = None,
) -> ServerInfo:
    return ServerInfo(
        name=server.name,
        address="inside ATLAS" if server.base_url == EMBEDDED else server.base_url,
        kind=server.kind,
        reachable=reachable,
        version=abilities.version if abilities else "",
        abilities=_in_words(abilities) if abilities else [],
        models=list(abilities.models) if abilities else [],
        embeddings=list(abilities.embeddings) if abilities else [],
        model=model,
        problem=_problem(error) if error else None,
        next_step=error.next_step if error else None,
    )


def _problem(error: AtlasError) -> str:
    return f"{error.argument}: {error.message}" if error.argument else error.message


def _unknown(name: str) -> ServerInfo:
    """One that is not configured; the embedded one is always there."""
    embedded = name == EMBEDDED
    return ServerInfo(
        name=name,
        address="inside ATLAS" if embedded else "not configured",
        kind="embedded" if embedded else "server",
        configured=False,
        reachable=embedded,
        problem="It is not configured any more, and constellations are still on it.",
        next_step="Move them with `atlas-mcp servers move`." if embedded else "Configure it again, then move them.",
    )


def _in_words(abilities: Abilities) -> list[str]:
    limits = {
        True: "block limits: enforced there",
        False: "block limits: not enforced there, but by ATLAS",
        None: "block limits: enforced by ATLAS",
    }
    return [
        "conversations: yes" if abilities.conversations else "conversations: no, so one turn of an agent at a time",
        f"groups: {'shown there' if abilities.groups else 'unknown there'}, run by ATLAS",
        limits[abilities.enforces_limits],
        f"folders: {'yes' if abilities.folders else 'no'}",
        f"shared archives: {'yes' if abilities.archives else 'no'}",
    ]
