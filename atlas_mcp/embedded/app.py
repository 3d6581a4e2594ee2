"""The door: `create_app` builds the app, `running` is the context that owns what outlives a request.

FastAPI is imported when the first app is built, LangChain when the first turn is taken. Nothing is opened before the
first request. Outside of `running` everything works but runs in the background; leaving it cancels those and closes the
file. An ASGI server enters it by the app's lifespan.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio

if TYPE_CHECKING:
    from fastapi import FastAPI

    from atlas_mcp.embedded.doors import LockFactory, MemoryCheck, ModelSource, ToolRunner
    from atlas_mcp.embedded.services import Services

VERSION = "0.16.8-embedded"


def create_app(
    database: Path,
    models: ModelSource,
    *,
    lock: LockFactory | None = None,
    run_tool: ToolRunner | None = None,
    check_memory: MemoryCheck | None = None,
    key: str | None = None,
    hosts: Sequence[str] | None = None,
    context_tokens: int = 30_000,
) -> FastAPI:
    """The embedded Letta over the SQLite file `database`.

    `lock` holds a thread by name during a turn: give one that works across processes if several share the file.
    `run_tool` runs uploaded tools; None refuses them with a 403. `check_memory` may refuse what an agent is about to
    keep. `key` is required as a bearer key, `hosts` are the only Host names and origins served. Older messages are
    summarised beyond about `context_tokens` tokens.
    """
    from fastapi import FastAPI

    from atlas_mcp.embedded.database import Database
    from atlas_mcp.embedded.security import Guard
    from atlas_mcp.embedded.services import Services, ThreadLocks

    services = Services(Database(database), models, lock or ThreadLocks().hold, run_tool, context_tokens, check_memory)
    app = FastAPI(
        title="Embedded Letta",
        version=VERSION,
        openapi_url=None,
        redirect_slashes=False,
        # Its own spans would start a trace at each request and cut ours in two.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=running,
    )
    app.state.services = services
    _add_routes(app, services)
    _add_errors(app)
    if key is not None or hosts is not None:
        app.add_middleware(Guard, key=key, hosts=hosts)
    return app


def running(app: FastAPI) -> AbstractAsyncContextManager[None]:
    """The app's own context, for use in process where no server enters its lifespan. One task enters and leaves it."""
    return _serving(app.state.services)


@asynccontextmanager
async def _serving(services: Services) -> AsyncGenerator[None]:
    tasks = services.background = await anyio.create_task_group().__aenter__()
    try:
        yield
    finally:  # entered and left by hand, so that what is raised inside is not wrapped in a group
        services.background = None
        tasks.cancel_scope.cancel()
        await tasks.__aexit__(None, None, None)
        await services.database.aclose()


def _add_routes(app: FastAPI, services: Services) -> None:
    from atlas_mcp.embedded import (
        agent_tools,
        agents,
        blocks,
        conversations,
        core_memory,
        messages,
        models,
        passages,
        runs,
        tools,
    )

    async def health() -> dict[str, str]:
        return {"version": VERSION, "status": "ok"}

    rooms = (core_memory, agents, agent_tools, passages, blocks, conversations, runs, tools, models)
    routers = [messages.agent_routes(services), messages.conversation_routes(services)]
    routers += [*(room.routes(services) for room in rooms), core_memory.sharing_routes(services)]
    app.router.routes.extend(messages.turn_routes(services))
    for router in routers:  # as one flat list, turns first: a nested router costs every request a search of its own
        app.router.routes.extend(router.routes)
    app.add_api_route("/v1/health/", health)
    app.add_api_route("/v1/health", health)


def _add_errors(app: FastAPI) -> None:
    from fastapi.exceptions import RequestValidationError
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    from atlas_mcp.embedded.faults import Fault

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        fault = cast("Fault", error)
        return JSONResponse(fault.body(), fault.status)

    async def explain(_: Request, error: Exception) -> JSONResponse:
        errors = cast("RequestValidationError", error).errors()
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors)
        return JSONResponse({"trace_id": "", "detail": problems}, 422)

    app.add_exception_handler(Fault, refuse)
    app.add_exception_handler(RequestValidationError, explain)
