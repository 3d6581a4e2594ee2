"""The deployment without containers: the image's own build steps, and each service's own command and health check.

What a container would give is given here: addresses, ports and folders. Redis is left out: it is Letta's affair, and
Letta goes on without it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.deploy.files import DEPLOY, ROOT, compose, dockerfile, environment, only
from tests.real_letta import installed
from tests.scripted_model import MODEL, ScriptedModel
from tests.server.doors import MODERN, call, over_http

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

SECRETS = {"POSTGRES_PASSWORD": "pg1", "LETTA_SERVER_PASSWORD": "letta1"}
PORTS = {"atlas": 8765, "letta": 8283, "mlflow": 5000, "postgres": 5432, "redis": 6379}
BUILD, LAST = dockerfile()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the Dockerfile's first stage makes, by its own commands."""
    work = tmp_path_factory.mktemp("image")
    places = {"/src": work / "src", "/opt/atlas": work / "opt", "/dist": work / "dist"}
    (work / "bin").mkdir()
    (work / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    places["/src"].mkdir()
    for copied in (i for i in BUILD if i.name == "COPY"):
        *sources, target = copied.words
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, places["/src"] / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, places["/src"] / target)
    arguments = dict(i.words[0].split("=", 1) for i in BUILD if i.name == "ARG")
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for step in (i for i in BUILD if i.name == "RUN"):
        done = subprocess.run(
            ["/bin/sh", "-ec", _moved(step.text, {k: str(v) for k, v in places.items()})],
            cwd=places["/src"],
            env={**os.environ, **arguments, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{step.text}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return places["/opt/atlas"]


def _moved(text: str, places: dict[str, str]) -> str:
    for here, there in places.items():
        text = text.replace(here, there)
    return text


@dataclass
class Service:
    """One service of the compose file, as a process."""

    name: str
    command: list[str]
    check: list[str]
    environment: dict[str, str]
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def is_healthy(self) -> bool:
        """What its health check says, by its exit code."""
        done = subprocess.run(self.check, env=self.environment, cwd=self.folder, capture_output=True, check=False)
        return done.returncode == 0

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    async def until_healthy(self) -> None:
        with anyio.fail_after(240):
            while not await anyio.to_thread.run_sync(self.is_healthy):
                assert self.process.poll() is None, self.log.read_text(errors="replace")[-4000:]
                await anyio.sleep(0.3)


class Deployment:
    """The services with ports, folders and programs of their own."""

    def __init__(self, work: Path, programs: dict[str, Path], variables: dict[str, str]) -> None:
        self.ports = {name: free_port() for name in PORTS}
        self._work = work
        self._programs = programs
        self._variables = variables
        self._services: dict[str, Any] = compose(variables)["services"]

    def service(self, name: str, *, folder: Path | None = None, entrypoint: list[str] | None = None) -> Service:
        """The service; what is outside of the container is put in its place."""
        described = self._services[name]
        data = self._work / name
        data.mkdir(exist_ok=True)
        own = str(self.ports[name])

        def here(text: str) -> str:
            for other, port in PORTS.items():
                text = text.replace(f"{other}:{port}", f"127.0.0.1:{self.ports[other]}")
            text = text.replace(f"127.0.0.1:{PORTS[name]}", f"127.0.0.1:{own}").replace("/data", str(data))
            return own if text == str(PORTS[name]) else text.replace(f"--port {PORTS[name]}", f"--port {own}")

        command = [*(described.get("entrypoint") or entrypoint or []), *described["command"]]
        given = {n: here(v) for n, v in environment(described, self._variables).items()}
        path = f"{self._programs[name]}{os.pathsep}{os.environ['PATH']}"
        kept = {n: os.environ[n] for n in ("LANG", "TMPDIR") if n in os.environ}
        return Service(
            name,
            [here(word) for word in command],
            [here(word) for word in described["healthcheck"]["test"][1:]],
            {**kept, "PATH": path, "HOME": str(data), "PYTHONDONTWRITEBYTECODE": "1", **given},
            folder or data,
            self._work / f"{name}.log",
        )


@contextmanager
def running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


@contextmanager
def postgres(letta: Path) -> Iterator[int]:
    """PostgreSQL as the deployment sets it up; its port."""
    command = [str(letta / "venv" / "bin" / "python"), str(Path(__file__).with_name("postgres.py"))]
    with subprocess.Popen(
        [*command, str(DEPLOY / "postgres.sql")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate()


def test_the_image_has_the_command_and_its_bytecode_which_no_start_compares_again(image: Path) -> None:
    told = subprocess.run([image / "bin" / "atlas-mcp", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.strip()
    package = next(image.glob("lib/python3.*/site-packages/atlas_mcp"))
    assert package.is_relative_to(image), "it is the wheel that is installed, not this checkout"
    compiled = list(package.rglob("*.pyc"))
    assert len(compiled) >= len(list(package.rglob("*.py")))
    assert {path.read_bytes()[4] for path in compiled} == {1}, "by hash, unchecked"


@pytest.fixture
def database() -> Iterator[int]:
    """The port of the deployment's PostgreSQL."""
    with postgres(installed()) as port:
        yield port


async def test_atlas_serves_by_its_own_command_and_its_health_check_tells(
    image: Path, tmp_path: Path, database: int
) -> None:
    house = Deployment(tmp_path, dict.fromkeys(PORTS, image / "bin"), SECRETS)
    house.ports["postgres"] = database
    atlas = house.service("atlas", entrypoint=only(LAST, "ENTRYPOINT").words)
    assert "0.0.0.0" in atlas.command
    assert not atlas.is_healthy()
    with running(atlas):
        await atlas.until_healthy()
        address, key_file = f"http://127.0.0.1:{house.ports['atlas']}", tmp_path / "atlas" / "keys" / "http"
        assert key_file.stat().st_mode & 0o777 == 0o600
        key = key_file.read_text().strip()
        async with over_http(address, key, "/mcp", MODERN) as client:
            assert (await call(client, "share_knowledge", name="Tea", text="Tea grows in Assam."))["revision"] == 1
            assert len((await call(client, "search_memory", query="tea"))["hits"]) == 1
        async with httpx.AsyncClient(base_url=address) as http:
            assert (await http.post("/mcp", json={})).status_code == 401
            strange = {"Host": "atlas.example.com", "Authorization": f"Bearer {key}"}
            assert (await http.post("/mcp", json={}, headers=strange)).status_code == 421
        assert atlas.stop() == 0
    assert not atlas.is_healthy()
    assert key_file.exists(), "what it keeps beside the database is in its volume"


async def test_the_whole_deployment_answers_and_each_health_check_tells(image: Path, tmp_path: Path) -> None:
    letta_home = installed()
    with ExitStack() as stack:
        model = stack.enter_context(ScriptedModel())
        variables = {
            **SECRETS,
            "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": model.url,
            "LETTA_MODEL": f"openai-proxy/{MODEL}",
            "LETTA_EMBEDDING_MODEL": "openai/text-embedding-3-small",
        }
        programs = {**dict.fromkeys(PORTS, image / "bin"), "letta": letta_home / "venv" / "bin"}
        house = Deployment(tmp_path, programs, variables)
        house.ports["postgres"] = stack.enter_context(postgres(letta_home))
        letta = house.service("letta", folder=letta_home / "src")
        letta.environment["LETTA_REDIS_HOST"] = "127.0.0.1"  # where none answers
        mlflow = house.service("mlflow")
        atlas = house.service("atlas", entrypoint=only(LAST, "ENTRYPOINT").words)
        assert not letta.is_healthy()
        assert not mlflow.is_healthy()
        for service in (letta, mlflow):
            stack.enter_context(running(service))
        for service in (letta, mlflow):
            await service.until_healthy()
        async with httpx.AsyncClient(timeout=30) as http:
            listing = f"http://127.0.0.1:{house.ports['letta']}/v1/agents/"
            assert (await http.get(listing)).status_code == 401, "the server wants its password"
            bearer = {"Authorization": f"Bearer {SECRETS['LETTA_SERVER_PASSWORD']}"}
            assert (await http.get(listing, headers=bearer)).json() == []

            stack.enter_context(running(atlas))
            await atlas.until_healthy()
            key = (tmp_path / "atlas" / "keys" / "http").read_text().strip()
            async with over_http(f"http://127.0.0.1:{house.ports['atlas']}", key, "/mcp", MODERN) as client:
                reply = await call(client, "chat_with_agent", agent="librarian", message="@@say hello from there")
                assert (reply["status"], reply["reply"]) == ("completed", "hello from there")
            assert [agent["name"] for agent in (await http.get(listing, headers=bearer)).json()] == ["librarian"]

            experiments = f"http://127.0.0.1:{house.ports['mlflow']}/api/2.0/mlflow/experiments/get-by-name"
            await until(lambda: asked(http, experiments, experiment_name="ATLAS"))
        for service in (atlas, mlflow, letta):
            service.stop()
            assert not service.is_healthy(), service.name


async def asked(http: httpx.AsyncClient, address: str, **query: str) -> bool:
    return (await http.get(address, params=query)).status_code == 200


async def until(true: Callable[[], Any]) -> None:
    """Wait until another program has done its part."""
    with anyio.fail_after(120):
        while not await true():  # noqa: ASYNC110 - another program's state
            await anyio.sleep(0.3)
