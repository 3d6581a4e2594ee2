"""A program that the tests start and kill: the embedded Letta on a loopback port, with an OpenAI-compatible model.

    python -m tests.embedded.server DATABASE MODEL_URL LOCKS_FOLDER KEY

Its first line is its URL. The locks work across processes.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn

from atlas_mcp.embedded import create_app
from atlas_mcp.store.locks import Locks
from tests.embedded.test_openai import OpenAISource


def main() -> None:
    database, model_url, locks, key = sys.argv[1:]
    app = create_app(
        Path(database), OpenAISource(model_url), lock=Locks(Path(locks)).hold, key=key, hosts=["127.0.0.1"]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
