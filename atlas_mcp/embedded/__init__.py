"""The embedded Letta: the part of Letta's V1 REST API that letta-client programs use, over one SQLite file.

It imports nothing else of this package, so any program can serve it. Two ways to run it:

    app = create_app(Path("letta.db"), models)
    async with running(app), httpx.AsyncClient(transport=StreamingASGITransport(app)) as http:
        letta = AsyncLetta(base_url="http://embedded", api_key="unused", max_retries=0, http_client=http)

or over a socket with any ASGI server, which enters the same context by the app's lifespan.
"""

from __future__ import annotations

from atlas_mcp.embedded.app import create_app, running
from atlas_mcp.embedded.doors import LockFactory, ModelSource, ToolRunner
from atlas_mcp.embedded.transport import StreamingASGITransport

__all__ = ["LockFactory", "ModelSource", "StreamingASGITransport", "ToolRunner", "create_app", "running"]
