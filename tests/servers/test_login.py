"""A server that asks for a login: a person logs in once in a browser, and nobody is asked again while it is renewed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner

from atlas_mcp.cli.app import app
from atlas_mcp.errors import InvalidInput
from atlas_mcp.reach.servers import signed
from atlas_mcp.reach.servers.config import ServerConfig
from atlas_mcp.reach.servers.logins import Given, Login
from atlas_mcp.reach.servers.signing_in import LoginFailedError, sign_in
from tests.servers.conftest import House, opened
from tests.servers.far import serving, serving_at, tidy
from tests.servers.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

pytestmark = pytest.mark.anyio


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def address(gate: Gate) -> Iterator[str]:
    with serving_at(gate.app) as address:
        yield f"{address}/mcp"


async def browser(address: str) -> None:
    """What a browser does whose person is known there already."""

    def visit() -> None:
        with urllib.request.urlopen(address, timeout=30) as page:
            assert b"You can close this page" in page.read()

    await anyio.to_thread.run_sync(visit)


def login(house: House) -> Login:
    return house.servers.servers[0].link.login


async def logged_in(house: House) -> None:
    assert await sign_in(login(house), browser)
    await house.until(lambda: house.room("far").health == "ok")


def test_who_logs_in_with_a_command_has_the_tools_and_nobody_else_has_what_it_gave(
    tmp_path: Path, gate: Gate, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, visit = tmp_path / "home", tmp_path / "visit.py"
    home.mkdir()
    (home / "mcp_servers.json").write_text(json.dumps({"mcpServers": {"far": {"url": address}}}))
    visit.write_text("import sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=30)\n")
    monkeypatch.setenv("ATLAS_HOME", str(home))

    def said(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == code, done.output
        return done.output

    wanted = "far: it asks for a login (401); its user can log in by `atlas-mcp tools login far`."
    assert wanted in said("tools", "check", code=1)
    assert "far: it asks for a login (401). Log in: atlas-mcp tools login far" in said("tools", "list")

    command = [sys.executable, "-m", "atlas_mcp", "tools", "login", "far"]
    environment = {"ATLAS_HOME": str(home), "PATH": os.environ["PATH"], "BROWSER": f"{sys.executable} {visit} %s"}
    came = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert "You are logged in with far." in came.stdout
    assert "far_enter (destroy): new" in came.stdout
    (kept,) = (home / "keys").glob("login-*")
    assert kept.stat().st_mode & 0o077 == 0

    kept_too = "No key is in it but those that you wrote into mcp_servers.json."
    assert kept_too in said("backup", str(tmp_path / "backup.zip"))
    with zipfile.ZipFile(tmp_path / "backup.zip") as backup:
        backup.extractall(tmp_path / "backup")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != kept]
    told = came.stdout + came.stderr + "".join(path.read_bytes().decode("latin-1") for path in files)
    assert gate.secrets
    assert not [one for one in gate.secrets if one in told]

    assert "You are logged out of far." in said("tools", "logout", "far")
    assert not kept.exists()
    assert wanted in said("tools", "check", code=1)


async def test_a_server_at_work_is_there_as_soon_as_somebody_has_logged_in(tmp_path: Path, address: str) -> None:
    async with opened(tmp_path, {"far": {"url": address}}) as house:
        room = house.room("far")
        assert (room.health, room.next_step) == ("warning", "atlas-mcp tools login far")
        assert "it asks for a login (401)" in room.text
        await logged_in(house)
        assert await house.call("far_enter") == "come in"
        login(house).forget()
        assert "its user can log in by `atlas-mcp tools login far`" in await house.fails("far_enter")
        await house.until(lambda: house.room("far").next_step == "atlas-mcp tools login far")


async def test_a_login_that_comes_while_a_request_is_refused_is_used_and_kept(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    server = Login(tmp_path, ServerConfig("far", "http", url="https://far.example/mcp"))
    told = list[str]()
    flow = signed.Signed(server, httpx2.AsyncClient, told.append).async_auth_flow(
        httpx2.Request("POST", server.config.url)
    )
    assert "authorization" not in (await flow.__anext__()).headers
    server.write(Given(url=server.config.url, tokens=OAuthToken(access_token="new")))
    assert (await flow.asend(httpx2.Response(401))).headers["authorization"] == "Bearer new"
    with pytest.raises(StopAsyncIteration):
        await flow.asend(httpx2.Response(200))
    assert server.read()
    assert not server.lacks
    assert not told


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"command": "x"}, "far has a program of this machine: there is no login with it."),
        ({"url": "https://x.example", "headers": {"authorization": "Bearer a"}}, "far has an Authorization"),
        ({"url": "https://x.example", "disabled": True}, "far is disabled in your file."),
    ],
)
def test_where_there_is_no_login_is_said(
    tmp_path: Path, entry: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mcp_servers.json").write_text(json.dumps({"mcpServers": {"far": entry}}))
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match=says):
        CliRunner().invoke(app, ["tools", "login", "far"], catch_exceptions=False)


@pytest.mark.parametrize("known", [True, False], ids=["its end is known", "its end comes unexpectedly"])
async def test_what_ended_is_renewed_once_for_all_who_need_it(
    tmp_path: Path, gate: Gate, address: str, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    far = {"far": {"url": address}}
    async with opened(tmp_path, far) as one, opened(tmp_path, far) as other:  # as two processes on one home have it
        await logged_in(one)
        await other.until(lambda: other.room("far").health == "ok")
        if known:
            gate.seconds *= 3
            monkeypatch.setattr(signed, "EARLIER_SECONDS", 2 * 3600.0)
        else:
            gate.tokens.clear()

        async def come_in(house: House) -> None:
            assert await house.call("far_enter") == "come in"

        async with anyio.create_task_group() as tasks:
            for house in (one, other) * 4:
                tasks.start_soon(come_in, house)
        assert gate.renewed == 1


async def test_a_login_that_is_not_renewed_is_told_with_the_way_to_a_new_one(
    tmp_path: Path, gate: Gate, address: str
) -> None:
    async with opened(tmp_path, {"far": {"url": address}}) as house:
        await logged_in(house)
        gate.forget_all()
        refused = await house.fails("far_enter")
        assert "the login has ended: it is not renewed any more (HTTP 400)" in refused
        assert "`atlas-mcp tools login far`" in refused
        await house.until(lambda: house.room("far").next_step == "atlas-mcp tools login far")
        await logged_in(house)
        assert await house.call("far_enter") == "come in"


async def test_a_login_counts_for_the_address_that_it_was_given_for(tmp_path: Path, address: str) -> None:
    seen = list[dict[str, str]]()
    async with opened(tmp_path, {"far": {"url": address}}) as house:
        await logged_in(house)
    with serving_at(Gate().app, seen) as elsewhere:
        async with opened(tmp_path, {"far": {"url": f"{elsewhere}/mcp"}}) as house:
            assert house.room("far").next_step == "atlas-mcp tools login far"
    assert seen
    assert not [headers for headers in seen if "authorization" in headers]


async def test_a_login_that_is_not_granted_is_told_and_leaves_the_one_before(
    tmp_path: Path, gate: Gate, address: str
) -> None:
    async with opened(tmp_path, {"far": {"url": address}}) as house:
        await logged_in(house)
        gate.denies = True
        with pytest.raises(LoginFailedError, match="the login was not granted: Ann said no"):
            await sign_in(login(house), browser)
        assert await house.call("far_enter") == "come in"


async def test_what_brings_back_an_answer_to_another_question_is_refused(tmp_path: Path, address: str) -> None:
    async def forged(shown: str) -> None:
        back = parse_qs(urlsplit(shown).query)["redirect_uri"][0]
        await browser(f"{back}?code=somebody-elses&state=guessed")

    async with opened(tmp_path, {"far": {"url": address}}) as house:
        with pytest.raises(LoginFailedError, match="State parameter mismatch"):
            await sign_in(login(house), forged)
        assert login(house).lacks


class _Entered(OAuthClientInformationFull):
    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        assert redirect_uri  # each port of loopback is as good as another
        return redirect_uri


async def test_a_connection_that_says_nothing_or_nonsense_ends_no_login(tmp_path: Path, address: str) -> None:
    async def restless(shown: str) -> None:
        back = parse_qs(urlsplit(shown).query)["redirect_uri"][0]
        for said in (b"", b"GET", b"\r\n", b"nonsense\r\n"):
            async with await anyio.connect_tcp("127.0.0.1", urlsplit(back).port or 0) as ahead:
                await ahead.send(said)
        await browser(shown)

    async with opened(tmp_path, {"far": {"url": address}}) as house:
        assert await sign_in(login(house), restless)


async def test_an_entry_that_was_made_by_hand_is_used(tmp_path: Path, gate: Gate, address: str) -> None:
    entered = {"client_id": "ours", "client_secret": "s3cret", "token_endpoint_auth_method": "client_secret_post"}
    gate.clients["ours"] = _Entered.model_validate(entered)
    oauth = {"clientId": "ours", "clientSecret": "s3cret"}
    async with opened(tmp_path, {"far": {"url": address, "oauth": oauth}}) as house:
        await logged_in(house)
        gate.tokens.clear()
        assert await house.call("far_enter") == "come in"
        assert gate.renewed == 1
        assert list(gate.clients) == ["ours"]
        assert "s3cret" not in f"{house.file!r} {login(house).read()!r}"


async def test_a_port_that_is_taken_is_told(tmp_path: Path, address: str) -> None:
    with serving(tidy().streamable_http_app()) as taken:
        oauth = {"callbackPort": int(taken.rsplit(":", 1)[1])}
        async with opened(tmp_path, {"far": {"url": address, "oauth": oauth}}) as house:
            with pytest.raises(LoginFailedError, match=r"callbackPort: \d+ cannot be used: address already in use"):
                await sign_in(login(house), browser)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("http://10.9.8.7/meta", "it names 10.9.8.7 for the login, which is only to be asked by https"),
        ("", "it lets no program enter itself"),
    ],
)
async def test_a_server_that_offers_no_login_is_told(tmp_path: Path, named: str, says: str) -> None:
    async def refuse(request: Request) -> Response:
        header = f'Bearer resource_metadata="{named}"' if named else "Bearer"
        return Response(status_code=401 if request.url.path == "/mcp" else 404, headers={"WWW-Authenticate": header})

    with serving(Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST"])])) as address:
        async with opened(tmp_path, {"far": {"url": f"{address}/mcp"}}) as house:
            with pytest.raises(LoginFailedError, match=says):
                await sign_in(login(house), browser)


async def test_who_needs_no_login_is_not_sent_to_one(tmp_path: Path) -> None:
    async def nobody(_: str) -> None:
        raise AssertionError("nobody is to log in")

    with serving(tidy().streamable_http_app()) as address:
        async with opened(tmp_path, {"far": {"url": f"{address}/mcp"}}) as house:
            assert not await sign_in(login(house), nobody)
