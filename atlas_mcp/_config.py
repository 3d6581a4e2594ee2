"""What the settings say, in the words of the rooms that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.access.limits import Limiter
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.model.access import LoginRules, resource_url
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.watch.alerts.rules import Thresholds
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.tracing import Destination
from atlas_mcp.watch.webhook import Webhook, webhook

if TYPE_CHECKING:
    from atlas_mcp.model.agent import Level, Roster
    from atlas_mcp.settings import Settings


def model_config(settings: Settings, roster: Roster) -> ModelConfig:
    """The models' share of the settings, with the models that the roster names for agents of their own."""
    levels: dict[Level, str | None] = {
        "routine": settings.model_routine,
        "interactive": settings.model_interactive,
        "investigative": settings.model_investigative,
        "critical": settings.model_critical,
    }
    return ModelConfig(
        model=settings.model,
        supervisor=settings.model_supervisor,
        worker=settings.model_worker,
        rater=settings.model_rater,
        fallbacks=settings.model_fallbacks,
        levels={level: name for level, name in levels.items() if name},
        base_url=settings.model_base_url,
        prices=settings.prices,
        offline_delay=settings.offline_delay,
        keys=settings.provider_keys,
        own=tuple(sorted({agent.model for agent in roster.agents if agent.model})),
    )


def limiter(settings: Settings) -> Limiter:
    """How much each caller may ask for by the settings."""
    return Limiter(
        requests_per_minute=settings.max_requests_per_minute,
        turns=settings.max_turns_per_caller,
        open_runs=settings.max_open_runs_per_caller,
    )


def destination(settings: Settings) -> Destination:
    """Where traces go by the settings. ConfigurationError for an address that cannot take them."""
    besides = None
    if settings.otlp_endpoint:
        besides = Collector(endpoint=settings.otlp_endpoint, headers=settings.otlp_headers)
        besides.check()
    where = Destination(
        tracking_uri=settings.mlflow_tracking_uri,
        username=settings.mlflow_tracking_username,
        password=settings.mlflow_tracking_password,
        token=settings.mlflow_tracking_token,
        days=settings.traces_days,
        besides=besides,
    )
    _ = where.kind  # judged now, not when the first trace is sent
    return where


def thresholds(settings: Settings) -> Thresholds:
    """Beyond what alerts are raised."""
    return Thresholds(
        task_seconds=settings.alert_task_seconds,
        task_usd=settings.alert_task_usd,
        quality=settings.alert_quality,
        error_rate=settings.alert_error_rate,
        budget=settings.alert_budget,
        stores=settings.alert_stores,
    )


def alert_webhook(settings: Settings) -> Webhook | None:
    """Who is told of alerts. ConfigurationError for an address or a secret that does not serve."""
    url, secret = settings.webhook_url, settings.webhook_secret
    return webhook(url.get_secret_value() if url else None, secret.get_secret_value() if secret else None)


def database(settings: Settings) -> Postgres | None:
    """The PostgreSQL that the settings name. ConfigurationError beside an embedded Letta, which is one home's."""
    if settings.database_url is None:
        return None
    if any(server.kind == "embedded" for server in settings.lettas):
        raise ConfigurationError(
            "several homes share a PostgreSQL, and the embedded Letta belongs to one home.",
            argument="ATLAS_DATABASE_URL",
            next_step="Set LETTA_BASE_URL too: to a Letta server, or to what `atlas-mcp letta` serves.",
        )
    return Postgres(settings.database_url.get_secret_value())


def stores(settings: Settings) -> StoresConfig:
    """Where memory is kept beside the record, and what makes vectors of texts."""
    return StoresConfig(
        embedder=settings.embedder,
        embedding_url=settings.embedding_url,
        embedding_model=settings.embedding_model,
        embedding_key=settings.embedding_key,
        chroma_url=settings.chroma_url,
        redis_url=settings.redis_url,
        neo4j_url=settings.neo4j_url,
    )


def login_rules(settings: Settings) -> LoginRules | None:
    """Whose logins are accepted; None where there is no identity provider. ConfigurationError for half of it."""
    for setting in ("public_url", "oauth_issuer", "oauth_jwks_url"):
        if address := getattr(settings, setting):
            from atlas_mcp.access.provider import check_address

            check_address(address, f"ATLAS_{setting.upper()}")
    if settings.oauth_issuer is None:
        return None
    if settings.public_url is None:
        raise ConfigurationError(
            "clients that log in must be told the address that they log in for.",
            argument="ATLAS_PUBLIC_URL",
            next_step="Set it beside ATLAS_OAUTH_ISSUER: https://atlas.example.com, without /mcp.",
        )
    resource = resource_url(settings.public_url)
    return LoginRules(
        issuer=settings.oauth_issuer,
        resource=resource,
        audience=settings.oauth_audience or resource,
        jwks_url=settings.oauth_jwks_url,
        scope_claim=settings.oauth_scope_claim,
        client_id=settings.oauth_client_id,
    )
