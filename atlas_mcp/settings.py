"""What the user has set: the only reader of the environment and of settings files.

Command line over environment over the home's `settings.toml` over built-in values. Values are read once, at the start;
the rooms are given them and never look for themselves. Secrets never appear in `repr`, logs or errors.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.database import check_address
from atlas_mcp.model.price import Price
from atlas_mcp.model.reaching import REACH_SECRETS, Reaching
from atlas_mcp.model.server import CLOUD, EMBEDDED, Server, checked_address, server_at

PROVIDER_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "OLLAMA_HOST",
)
_SECRETS = (
    {name for name in PROVIDER_VARIABLES if name.endswith("_KEY")}
    | REACH_SECRETS
    | {
        "mlflow_tracking_password",
        "mlflow_tracking_token",
        "letta_api_key",
        "database_url",
        "embedding_url",
        "embedding_key",
        "chroma_url",
        "redis_url",
        "neo4j_url",
        "otlp_headers",
        "webhook_url",
        "webhook_secret",
    }
)

_OFF = ("none", "off")
_EMBEDDERS = ("auto", "none", "hash", "openai-compatible", "voyage")


def default_home() -> Path:
    """Where ATLAS keeps everything unless ATLAS_HOME says otherwise: the platform's user data folder."""
    return Path(platformdirs.user_data_dir("atlas", appauthor=False))


class Settings(Reaching, BaseSettings):
    """All that can be set. Each field's variable is `ATLAS_` and its name in capitals, unless it says otherwise."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_", extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home, description="The folder that holds everything ATLAS keeps.")
    database_url: SecretStr | None = Field(
        default=None, description="A PostgreSQL for the record and the runs, instead of files in the home."
    )
    roster: Path | None = Field(default=None, description="A roster file of your own.")
    tools: Path | None = Field(default=None, description="A folder with tool files of your own.")
    materials: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders that materials may be read from, separated as in PATH."
    )
    model: str | None = Field(default=None, description="provider:name of the model that answers for every agent.")
    model_supervisor: str | None = Field(default=None, description="The supervisors' model.")
    model_worker: str | None = Field(default=None, description="The workers' model.")
    model_rater: str | None = Field(default=None, description="The raters' model; best another than the authors'.")
    model_fallbacks: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Models to try, in this order, when one fails; separated by commas."
    )
    model_routine: str | None = Field(default=None, description="The model of agents at level routine.")
    model_interactive: str | None = Field(default=None, description="The model of agents at level interactive.")
    model_investigative: str | None = Field(default=None, description="The model of agents at level investigative.")
    model_critical: str | None = Field(default=None, description="The model of agents at level critical.")
    model_base_url: str | None = Field(default=None, description="Address of an OpenAI-compatible server.")
    prices: dict[str, Price] = Field(
        default_factory=dict[str, Price],
        description='Models\' prices, in settings.toml: [prices."provider:name"] input_per_million, output_per_million',
    )
    daily_usd: float | None = Field(
        default=None, ge=0, description="Dollars that each caller may spend in a day (UTC); no turn begins beyond them."
    )
    judge_model: str | None = Field(
        default=None, description="provider:name of the model that judges a share of the answers, by MLflow's judges."
    )
    judge_share: float = Field(default=0.1, ge=0, le=1, description="The share of the answers that is judged.")
    judge_calls: int = Field(default=200, ge=0, description="Calls to the judge's model in a day (UTC), at most.")
    offline_delay: float = Field(default=0.0, ge=0, le=60, description="Seconds the offline model waits in each turn.")
    answer_hours: float = Field(
        default=72.0, gt=0, le=8760, description="Hours a run waits for an answer before it takes the safe one."
    )
    max_runs: int = Field(default=16, ge=1, description="Runs at work at once, in all; single turns apart.")
    max_runs_per_caller: int = Field(default=8, ge=1, description="Of those, how many of one caller.")
    max_open_runs_per_caller: int = Field(
        default=1_000, ge=1, description="Runs of one caller that have not ended, those that wait among them."
    )
    max_requests_per_minute: int | None = Field(
        default=None, ge=0, description="Requests of one caller in a minute, over HTTP; 0 for no limit."
    )
    max_turns_per_caller: int | None = Field(
        default=None, ge=0, description="Turns of one caller under way at once, over HTTP; 0 for no limit."
    )
    embedder: str = Field(
        default="auto", description="What makes vectors: auto, none, hash, local:PATH, openai-compatible or voyage."
    )
    embedding_url: SecretStr | None = Field(
        default=None, description="Address of the embedder's server, as far as /v1: for openai-compatible, or voyage."
    )
    embedding_model: str | None = Field(default=None, description="The model that makes vectors there.")
    embedding_key: SecretStr | None = Field(default=None, description="The key for it, where it needs one.")
    chroma_url: SecretStr | None = Field(default=None, description="A Chroma server, instead of files in the home.")
    redis_url: SecretStr | None = Field(default=None, description="A Redis beside the record, for working memory.")
    neo4j_url: SecretStr | None = Field(default=None, description="A Neo4j beside the record, for the facts.")
    summaries: Literal["extract", "model"] = Field(
        default="extract", description="How long talks are summed up: by their own sentences, or by a model."
    )
    letta_base_url: str | None = Field(
        default=None, validation_alias="LETTA_BASE_URL", description="Address of a Letta server, or of several: a,b."
    )
    letta_api_key: SecretStr | None = Field(
        default=None, validation_alias="LETTA_API_KEY", description="Its key; with no address, that of Letta Cloud."
    )
    letta_model: str | None = Field(
        default=None, validation_alias="LETTA_MODEL", description="The Letta server's handle that answers for everyone."
    )
    letta_embedding_model: str | None = Field(
        default=None, validation_alias="LETTA_EMBEDDING_MODEL", description="The Letta server's handle for archives."
    )
    letta_servers: tuple[Server, ...] = Field(
        default=(), description="Several Letta servers, in settings.toml: name, base_url, api_key, weight."
    )
    mlflow_tracking_uri: str | None = Field(
        default=None, repr=False, validation_alias="MLFLOW_TRACKING_URI", description="An MLflow server for the traces."
    )
    mlflow_tracking_username: str | None = Field(
        default=None, validation_alias="MLFLOW_TRACKING_USERNAME", description="That server's user."
    )
    mlflow_tracking_password: SecretStr | None = Field(
        default=None, validation_alias="MLFLOW_TRACKING_PASSWORD", description="That user's password."
    )
    mlflow_tracking_token: SecretStr | None = Field(
        default=None, validation_alias="MLFLOW_TRACKING_TOKEN", description="A token instead of user and password."
    )
    traces_days: float = Field(
        default=90.0, ge=0, le=36_500, description="Days that the home's own database keeps traces; 0 for ever."
    )
    otlp_endpoint: str | None = Field(
        default=None, repr=False, description="An OpenTelemetry endpoint (OTLP over HTTP) that gets all spans as well."
    )
    otlp_headers: SecretStr | None = Field(default=None, description="Headers it asks for: name=value,name=value.")
    alert_task_seconds: float | None = Field(
        default=300.0, gt=0, description="Seconds beyond which a team task raises an alert; none switches it off."
    )
    alert_task_usd: float | None = Field(
        default=5.0, gt=0, description="Dollars beyond which a team task raises an alert; none switches it off."
    )
    alert_quality: float | None = Field(
        default=3.5, ge=1, le=5, description="Mean rating below which a team task raises an alert; none is off."
    )
    alert_error_rate: float | None = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the last hour's turns that may fail before an alert; none is off.",
    )
    alert_budget: float | None = Field(
        default=0.8, gt=0, le=1, description="Share of a budget whose use raises an alert; none switches it off."
    )
    alert_stores: bool = Field(default=True, description="Whether a store that is not well raises an alert.")
    improve: bool = Field(default=False, description="Whether safe improvements are applied by themselves.")
    webhook_url: SecretStr | None = Field(default=None, description="An address that is told of alerts.")
    webhook_secret: SecretStr | None = Field(default=None, description="What the messages to it are signed with.")
    public_url: str | None = Field(
        default=None, description="The address by which clients of other machines come: https://atlas.example.com."
    )
    oauth_issuer: str | None = Field(
        default=None, description="The identity provider whose logins are accepted: its issuer, as its tokens have it."
    )
    oauth_audience: str | None = Field(
        default=None, description="For whom its tokens must be made; else for ATLAS_PUBLIC_URL with /mcp."
    )
    oauth_client_id: str | None = Field(
        default=None, description="The name by which it knows the run board; then people sign in there."
    )
    oauth_jwks_url: str | None = Field(default=None, description="Where its keys lie; else its own metadata says so.")
    oauth_scope_claim: str = Field(default="scope", description="The claim of its tokens that names the scopes.")
    provider_keys: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr], description="The providers' own variables, as far as they are set."
    )

    @field_validator("materials", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("model_fallbacks", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return tuple(filter(None, (v.strip() for v in value.split(",")))) if isinstance(value, str) else value

    @field_validator(
        "alert_task_seconds", "alert_task_usd", "alert_quality", "alert_error_rate", "alert_budget", mode="before"
    )
    @classmethod
    def _switch_off(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() in _OFF else value

    @field_validator("embedder")
    @classmethod
    def _check_embedder(cls, value: str) -> str:
        if value in _EMBEDDERS or value.removeprefix("local:") not in {value, ""}:
            return value
        raise ValueError(f"there is no embedder {value!r}; it may be {', '.join(_EMBEDDERS)} or local:PATH")

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_address(value.get_secret_value())
        return value

    @field_validator("letta_base_url")
    @classmethod
    def _check_addresses(cls, value: str | None) -> str | None:
        addresses = [a if a == EMBEDDED else checked_address(a) for a in _listed(value)]
        if len(set(addresses)) < len(addresses):
            raise ValueError("one address stands there twice")
        return ",".join(addresses) or None

    @field_validator("letta_servers")
    @classmethod
    def _check_servers(cls, value: tuple[Server, ...], info: ValidationInfo) -> tuple[Server, ...]:
        names = [server.name for server in value]
        if double := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two servers are called {double.pop()!r}")
        if value and not any(server.weight for server in value):
            raise ValueError("every server has weight 0, so that none can take a constellation")
        if value and info.data.get("letta_base_url"):
            raise ValueError("there is letta_base_url beside them; give one of the two")
        return value

    @field_validator("home", "roster", "tools")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value

    @field_validator("materials")
    @classmethod
    def _expand_all(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(v.expanduser().absolute() for v in value)

    @property
    def lettas(self) -> tuple[Server, ...]:
        """The Lettas that constellations are placed on, at least one: those configured, or the embedded one.

        LETTA_API_KEY is the key of each that has none of its own.
        """
        if self.letta_base_url:
            servers = tuple(server_at(address) for address in _listed(self.letta_base_url))
        else:
            servers = self.letta_servers
        if not servers:
            servers = (server_at(CLOUD if self.letta_api_key else EMBEDDED),)
        common = {"api_key": self.letta_api_key}
        return tuple(s if s.api_key or s.kind == "embedded" else s.model_copy(update=common) for s in servers)


def load_settings(**command_line: Any) -> Settings:
    """The settings as they stand; `command_line` values that are None count as not given.

    Raises ConfigurationError for a settings file that does not parse, a name nobody knows, or a value that does not
    fit.
    """
    given = {k: v for k, v in command_line.items() if v is not None}
    home = Path(given.get("home") or os.environ.get("ATLAS_HOME") or default_home()).expanduser()
    filed = _read_file(home / "settings.toml")
    in_environment = {name for name in Settings.model_fields if os.environ.get(_variable(name))}
    keys = {name: value for name in PROVIDER_VARIABLES if (value := filed.pop(name, None))}
    keys |= {name: value for name in PROVIDER_VARIABLES if (value := os.environ.get(name))}
    merged: dict[str, Any] = {k: v for k, v in filed.items() if k not in in_environment} | given
    merged["provider_keys"] = keys
    if "letta_base_url" in in_environment:
        merged.pop("letta_servers", None)
    fields = Settings.model_fields
    merged = {str(fields[name].validation_alias or name) if name in fields else name: v for name, v in merged.items()}
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"{first['msg'].removeprefix('Value error, ')}.",
            argument=_place(first["loc"]),
            next_step="See the configuration table in the README.",
        ) from None


def foreign(*names: str) -> dict[str, str]:
    """Variables that are set, of those names: such as say where other programs keep their files."""
    return {name: value for name in names if (value := os.environ.get(name))}


def exposed_settings(home: Path) -> Path | None:
    """The home's settings file if it holds a key or password and other users of the machine may read it."""
    path = home / "settings.toml"
    try:
        readable = os.name == "posix" and path.stat().st_mode & 0o044
        held = _read_file(path) if readable else {}
    except (OSError, ConfigurationError):
        return None  # gone, or broken since the start: the next start says so
    secret = _SECRETS & held.keys() or "@" in str(held.get("mlflow_tracking_uri", ""))
    return path if secret or "'api_key'" in str(held.get("letta_servers", "")) else None


def settings_without_keys(home: Path) -> str:
    """The home's settings file without keys, passwords and addresses that may hold some; empty if that cannot be."""
    try:
        text = (home / "settings.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    held = _read_file(home / "settings.toml")
    secret = [str(held[name]) for name in _SECRETS & held.keys()]
    secret += [str(server["api_key"]) for server in held.get("letta_servers", ()) if "api_key" in server]
    secret += [uri] if "@" in (uri := str(held.get("mlflow_tracking_uri", ""))) else []
    kept = "".join(line for line in text.splitlines(keepends=True) if not any(one in line for one in secret))
    try:
        tomllib.loads(kept)
    except tomllib.TOMLDecodeError:
        return ""
    return "" if any(one in kept for one in secret) else kept


def _listed(text: str | None) -> list[str]:
    """The parts of a text that commas separate."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _place(loc: tuple[int | str, ...]) -> str:
    """What to call the place of a mistake."""
    name = str(loc[0]) if loc else "settings"
    if name == "letta_servers":
        number = f", number {loc[1] + 1}" if len(loc) > 1 and isinstance(loc[1], int) else ""
        return f"[[letta_servers]]{number}{''.join(f', {part}' for part in loc[2:])}"
    if name == "prices" and len(loc) > 1:
        return f'[prices."{loc[1]}"]{"".join(f", {part}" for part in loc[2:])}'
    return _variable(name) if name in Settings.model_fields else name


def _variable(name: str) -> str:
    """The environment variable of a field."""
    return str(Settings.model_fields[name].validation_alias or f"ATLAS_{name.upper()}")


def _read_file(path: Path) -> dict[str, Any]:
    """The settings file's values; an absent file has none."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}.", argument="settings.toml", next_step="Mend or remove the file."
        ) from None
    known = {*Settings.model_fields, *PROVIDER_VARIABLES} - {"home", "provider_keys"}
    if unknown := set(content) - known:
        raise ConfigurationError(
            f"{path} names unknown settings: {', '.join(sorted(unknown))}.",
            argument="settings.toml",
            allowed=sorted(known),
            next_step=f"Known are: {', '.join(sorted(known))}.",
        )
    return content
