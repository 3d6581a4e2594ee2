"""An engine that speaks Bolt for tests, as Neo4j does: ArcadeDB, one server per test session, in a process of its own.

    address = session_bolt().new_database()     an address, of a database of its own

Run as a program (`python tests/bolt.py`) it serves: the first line printed that begins with "port" has its port; it
answers each line `create NAME`, `drop NAME` with the same line, and ends when its standard input does. A crash of its
Java machine takes no test process along.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD = "tested-over-bolt"


@dataclass
class RunningBolt:
    """A server, and the process that it is."""

    port: int
    process: subprocess.Popen[str]

    def address(self, database: str, *, port: int | None = None) -> str:
        """Of that database."""
        return f"bolt://root:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self) -> str:
        """The name of a database that was made just now."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self._tell(f"create {name}")
        return name

    def empty(self, database: str) -> None:
        """Drop the database, and make an empty one of that name."""
        self._tell(f"drop {database}")
        self._tell(f"create {database}")

    def rows(self, database: str, cypher: str, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """What a query gives."""
        from neo4j import GraphDatabase

        with (
            GraphDatabase.driver(f"bolt://127.0.0.1:{self.port}", auth=("root", PASSWORD)) as driver,
            driver.session(database=database) as session,
        ):
            return session.run(cypher, dict(values or {})).data()  # pyright: ignore[reportArgumentType]  # tests' own

    def _tell(self, line: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        while (answer := self.process.stdout.readline()) != f"{line}\n":
            assert answer, "the server has died"


@cache
def session_bolt() -> RunningBolt:
    """The one server of this test session; it ends with the session's process."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # an interrupt at the terminal ends the tests first, then this
    )
    assert process.stdout
    for line in process.stdout:
        if line.startswith("port "):
            return RunningBolt(int(line.split()[1]), process)
    raise RuntimeError("ArcadeDB did not start")


def main() -> None:
    """Serve until standard input ends."""
    import arcadedb_embedded

    ports: list[int] = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ports.append(listening.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="atlas-bolt-") as folder:
        os.chdir(folder)  # it writes its logs where it stands
        server = arcadedb_embedded.ArcadeDBServer(
            root_path=folder,
            root_password=PASSWORD,
            config={
                "host": "127.0.0.1",
                "http_port": ports[0],
                "server_plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
                "bolt_port": ports[1],
            },
            jvm_kwargs={"heap_size": "512m"},
        )
        server.start()
        print(f"port {ports[1]}", flush=True)
        for line in sys.stdin:
            order, name = line.split()
            if order == "create":
                server.create_database(name)
            else:
                server.get_database(name).drop()
            print(line, end="", flush=True)
        server.stop()


if __name__ == "__main__":
    main()
