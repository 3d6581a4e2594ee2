"""What stands at an address: a Letta that ATLAS can work with, of which version and with which models; or what else.

Promise: nothing is changed there. What keeps ATLAS from working with it is told once and clearly: UnusableLetta for
what a person must mend, LettaUnavailable for what may pass.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx

from atlas_mcp.errors import LettaUnavailable, UnusableLetta
from atlas_mcp.letta.breaker import is_gateways_own
from atlas_mcp.letta.states import Abilities

if TYPE_CHECKING:
    from atlas_mcp.letta.breaker import BreakingClient
    from atlas_mcp.model.server import Server

OLDEST = (0, 16)
"""The oldest version that has conversations and client tools, without which ATLAS cannot work."""
_ENFORCED_LIMITS = (0, 16, 2)
_NO_LONGER = (0, 16, 8)
_OF_OUR_OWN = "-embedded"
ASK_SECONDS = 20.0


async def look(http: BreakingClient, server: Server) -> Abilities:
    """What the server is and can do, by a handful of requests that read.

    Raises UnusableLetta for another program, a version that is too old and a key that is refused; LettaUnavailable when
    it is not reached.
    """
    asking = _Asking(http, server)
    version = await asking.version()
    return Abilities(
        version=version,
        models=_handles(await asking.json("/v1/models/")),
        embeddings=_handles(await asking.json("/v1/models/embedding")),
        conversations=await asking.has("conversations"),
        groups=await asking.has("groups"),
        folders=await asking.has("folders"),
        archives=await asking.has("archives"),
        enforces_limits=_enforces_limits(version),
    )


class _Asking:
    def __init__(self, http: BreakingClient, server: Server) -> None:
        self._http = http
        self._server = server
        key = server.api_key.get_secret_value() if server.api_key else "none"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def version(self) -> str:
        """The version that the server says it has; UnusableLetta for one that is no Letta, or too old."""
        answer = await self._get("/v1/health/")
        told = _json(answer)
        if answer.status_code in {401, 403}:
            raise self._refused(answer)
        if answer.status_code >= 500:
            raise LettaUnavailable(
                f"{self._server.shown} answers with an error ({answer.status_code}).",
                next_step="See its log, and try again.",
            )
        version = cast("dict[str, Any]", told).get("version") if isinstance(told, dict) else None
        if answer.status_code != 200 or not isinstance(version, str):
            kind = answer.headers.get("content-type", "nothing").partition(";")[0]
            raise UnusableLetta(
                f"what answers at {self._server.base_url} is no Letta: /v1/health/ gives {answer.status_code}, {kind}.",
                self._setting("base_url"),
                next_step="Give the address that Letta itself listens on, such as http://127.0.0.1:8283.",
            )
        numbers = _numbers(version)
        if numbers and numbers < OLDEST:
            raise UnusableLetta(
                f"{self._server.shown} has version {version}; {'.'.join(map(str, OLDEST))} or newer is needed, "
                "because earlier ones have neither conversations nor client tools.",
                self._setting("base_url"),
                next_step="Update the Letta server.",
            )
        return version

    async def has(self, resource: str) -> bool:
        """Whether the server has the resource; one that it wants more words for (422) is there."""
        answer = await self._get(f"/v1/{resource}/?limit=1")
        return answer.status_code in {200, 422}

    async def json(self, path: str) -> Any:
        """What the server answers there."""
        answer = await self._get(path)
        if answer.status_code in {401, 403}:
            raise self._refused(answer)
        if answer.status_code != 200:
            raise LettaUnavailable(
                f"{self._server.shown} answers {path} with an error ({answer.status_code}).",
                next_step="See its log, and try again.",
            )
        return _json(answer)

    async def _get(self, path: str) -> httpx.Response:
        try:
            with anyio.fail_after(ASK_SECONDS):
                request = self._http.build_request("GET", f"{self._server.base_url}{path}", headers=self._headers)
                answer = await self._http.reach(request)
        except TimeoutError:
            raise self._silent(f"no answer within {ASK_SECONDS:g} s") from None
        except httpx.TransportError as error:
            if "[SSL" in str(error):
                raise UnusableLetta(
                    f"{error}.",
                    self._setting("base_url"),
                    next_step="Write http:// for a server without TLS, or mend its certificate.",
                ) from error
            raise self._silent(str(error) or type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnusableLetta(
                f"{self._server.base_url} cannot be asked: {error}.",
                self._setting("base_url"),
                next_step="Give the address that Letta itself listens on.",
            ) from error
        if is_gateways_own(answer):
            raise self._silent(f"a gateway in front of it answers {answer.status_code}")
        return answer

    def _silent(self, reason: str) -> LettaUnavailable:
        shown = self._server.shown
        text = reason if reason.startswith(shown) else f"{shown}: {reason}"
        return LettaUnavailable(f"{text}.", next_step="Start it, or mend its address (`atlas-mcp doctor` tells more).")

    def _refused(self, answer: httpx.Response) -> UnusableLetta:
        setting, has_key = self._setting("api_key"), self._server.api_key is not None
        what = "refuses the key" if has_key else "wants a key, and none is set"
        step = f"Set {setting} to the key of this Letta"
        own = "from app.letta.com" if self._server.kind == "cloud" else "for a Letta server its LETTA_SERVER_PASSWORD"
        return UnusableLetta(
            f"{self._server.shown} {what} ({answer.status_code}).", setting, next_step=f"{step} ({own})."
        )

    def _setting(self, field: str) -> str:
        """What the user set, or has to set, of this server."""
        derived = self._server.name in self._server.base_url.lower()
        if not derived:
            return f"[[letta_servers]] {self._server.name}, {field}"
        return "LETTA_API_KEY" if field == "api_key" else "LETTA_BASE_URL"


def _enforces_limits(version: str) -> bool | None:
    """Whether the server itself keeps blocks to their limits; None for versions that nobody tried."""
    numbers = _numbers(version)
    if version.endswith(_OF_OUR_OWN):
        return True
    if not numbers:
        return None
    return True if numbers <= _ENFORCED_LIMITS else False if numbers >= _NO_LONGER else None


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _handles(listed: Any) -> tuple[str, ...]:
    models = cast("list[dict[str, Any]]", listed) if isinstance(listed, list) else []
    return tuple(dict.fromkeys(str(m["handle"]) for m in models if m.get("handle")))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
