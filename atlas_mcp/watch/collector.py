"""Any other endpoint that speaks OpenTelemetry's protocol over HTTP, besides MLflow: where it is, and how to get in.

It gets every span that MLflow gets, as protobuf, compressed. What it has not taken yet waits for it in a spool of its
own, bounded as the other one, so that neither end holds up the other. A request that was taken and not acknowledged is
sent again: a span may arrive twice, never not at all. Notes (runs, feedback, prompts) are MLflow's own and stay there.
"""

from __future__ import annotations

import json
from typing import ClassVar, Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model._base import Frozen
from atlas_mcp.watch.payload import REDACTED

_PATH: Final = "/v1/traces"


class Collector(Frozen):
    """An OTLP endpoint, such as `http://localhost:4318`, and the headers it asks for, which are secrets.

    `/v1/traces` is appended unless the address ends so. `headers` are written as in OpenTelemetry's own variable:
    `name=value,name=value`, values percent-encoded where they hold a comma.
    """

    folder: ClassVar[str] = "spool-otlp"
    lock: ClassVar[str] = "ingest-otlp"
    kind: ClassVar[Literal["otlp"]] = "otlp"

    endpoint: str = Field(repr=False)
    headers: SecretStr | None = None

    @property
    def address(self) -> str:
        """What is posted to."""
        parts = urlsplit(self.endpoint)
        path = parts.path.rstrip("/")
        return urlunsplit(parts._replace(path=path if path.endswith(_PATH) else path + _PATH, fragment=""))

    @property
    def shown(self) -> str:
        """The address for people and logs, without parameters."""
        return urlunsplit(urlsplit(self.address)._replace(query=""))

    def check(self) -> None:
        """Raise ConfigurationError for an address or headers that cannot be used; never tells their values."""
        try:
            parts = urlsplit(self.endpoint)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or "@" in self.endpoint:
            raise ConfigurationError(
                "this is not an address that takes traces.",
                argument="ATLAS_OTLP_ENDPOINT",
                next_step="Write it as http://host:4318, without user and password; keys go into ATLAS_OTLP_HEADERS.",
            )
        self.header_pairs()

    def header_pairs(self) -> dict[str, str]:
        """The headers by name. Raises ConfigurationError."""
        pairs: dict[str, str] = {}
        for one in filter(None, map(str.strip, self._plain_headers().split(","))):
            name, given, value = one.partition("=")
            name, value = name.strip(), unquote(value.strip())
            if not given or not name.replace("-", "").replace("_", "").isalnum() or not (name + value).isascii():
                raise ConfigurationError(
                    "a header is not a pair of a name and a value.",
                    argument="ATLAS_OTLP_HEADERS",
                    next_step="Write them as name=value,name=value; %2C stands for a comma in a value.",
                )
            pairs[name.lower()] = value
        return pairs

    def scrub(self, text: str) -> str:
        """`text` with the address as it is shown and without the headers' values."""
        text = text.replace(self.endpoint, self.shown)
        secrets = {query} if (query := urlsplit(self.endpoint).query) else set[str]()
        for value in self.header_pairs().values():
            secrets |= {value, value.rpartition(" ")[2]}
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def to_wire(self) -> str:
        """All of it as one line of JSON with its secrets, for the standard input of a process of our own only."""
        return json.dumps({"endpoint": self.endpoint, "headers": self._plain_headers()})

    def _plain_headers(self) -> str:
        return self.headers.get_secret_value() if self.headers else ""


def read_collector(wire: str) -> Collector | None:
    """The collector that `to_wire` wrote; None for a line that is about something else."""
    try:
        return Collector.model_validate_json(wire)
    except ValidationError:
        return None
