"""What the user has set of what agents may reach: tools and servers, the web, services, files, and the rails around.

These are fields of the settings (see `settings.py`), apart because they are a matter of their own. A key that is not
set leaves its service off: the agents are not offered its tools.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import NoDecode

from atlas_mcp.model.permissions import Permissions

REACH_SECRETS = frozenset(
    {"tavily_api_key", "firecrawl_api_key", "github_token", "microsoft_client_secret", "web_search_url"}
)


class Reaching(BaseModel):
    """What agents may reach."""

    mcp_servers: Path | None = Field(
        default=None, description="A file with MCP servers whose tools agents may use: `mcpServers`, as hosts know it."
    )
    permissions: Permissions = Field(
        default=Permissions(), description="What tools may do unasked, in settings.toml: [permissions]."
    )
    web_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Private hosts that the home's owner may fetch pages from, by name or host:port; commas between.",
    )
    web_search_url: SecretStr | None = Field(default=None, description="A SearXNG to search the web with.")
    tavily_api_key: SecretStr | None = Field(
        default=None, validation_alias="TAVILY_API_KEY", description="The key of Tavily, to search the web with."
    )
    tavily_base_url: str = Field(default="https://api.tavily.com", description="Where Tavily is.")
    tavily_credit_usd: float | None = Field(
        default=0.008,
        ge=0,
        allow_inf_nan=False,
        description="Dollars that a credit of Tavily costs; none: not entered.",
    )
    firecrawl_api_key: SecretStr | None = Field(
        default=None, validation_alias="FIRECRAWL_API_KEY", description="The key of Firecrawl, to read pages with."
    )
    firecrawl_base_url: str = Field(default="https://api.firecrawl.dev", description="Where Firecrawl is.")
    firecrawl_credit_usd: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Dollars that a credit of Firecrawl costs."
    )
    github_token: SecretStr | None = Field(default=None, description="A token of GitHub, to search and read there.")
    github_base_url: str = Field(default="https://api.github.com", description="Where GitHub's API is.")
    microsoft_tenant: str | None = Field(default=None, description="The Microsoft 365 tenant: an id or a domain.")
    microsoft_client_id: str | None = Field(default=None, description="The app that is registered there.")
    microsoft_client_secret: SecretStr | None = Field(default=None, description="That app's secret.")
    microsoft_user: str | None = Field(default=None, description="Whose mail, files and calendar they are.")
    microsoft_base_url: str = Field(default="https://graph.microsoft.com", description="Where Graph is.")
    microsoft_login_url: str = Field(
        default="https://login.microsoftonline.com", description="Where that app is given its tokens."
    )
    files: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders whose files agents may list, read and search, separated as in PATH."
    )
    guard_rules: bool = Field(default=True, description="Whether rules check what enters and what leaves.")
    guard_languages: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Languages that texts from outside may be in, by two letters; commas between."
    )
    guard_model: str | None = Field(default=None, description="provider:name of a model that checks it as well.")
    guard_quality: bool = Field(default=True, description="Whether the librarian checks results; 4.0 passes.")
    guard_rails: Path | None = Field(default=None, description="A folder with NeMo Guardrails' configuration.")

    @property
    def has_own_firecrawl(self) -> bool:
        """Whether there is a Firecrawl at an address of the user's own."""
        return self.firecrawl_base_url != type(self).model_fields["firecrawl_base_url"].default

    @property
    def has_firecrawl(self) -> bool:
        """Whether there is a Firecrawl: by a key, or one of the user's own, which may need none."""
        return self.has_own_firecrawl or self.firecrawl_api_key is not None

    @field_validator("web_allow", "guard_languages", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        return tuple(filter(None, (v.strip().lower() for v in value.split(",")))) if isinstance(value, str) else value

    @field_validator("web_allow")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := next((v for v in value if not re.fullmatch(r"[a-z0-9_.:\[\]-]+", v)), None):
            raise ValueError(f"{wrong!r} is no host; write each as wiki.example.org or 127.0.0.1:8080")
        return value

    @field_validator("files", mode="before")
    @classmethod
    def _split_folders(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("files")
    @classmethod
    def _expand_folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(v.expanduser().absolute() for v in value)

    @field_validator("tavily_credit_usd", "firecrawl_credit_usd", mode="before")
    @classmethod
    def _no_price(cls, value: Any) -> Any:
        return None if isinstance(value, str) and value.strip().lower() == "none" else value

    @field_validator("tavily_api_key", "firecrawl_api_key", "github_token", "microsoft_client_secret")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().strip() if value else ""
        if not re.fullmatch(r"[!-~]*", text):
            raise ValueError("it has a space or a character that no key has")
        return SecretStr(text) if text else None

    @field_validator("microsoft_tenant", "microsoft_client_id", "microsoft_user")
    @classmethod
    def _check_name(cls, value: str | None) -> str | None:
        text = (value or "").strip()
        if not re.fullmatch(r"[\w.@'#^~!&+-]*", text):
            raise ValueError(f"{text!r} is neither an id nor a name of Microsoft 365")
        return text or None

    @field_validator(
        "tavily_base_url", "firecrawl_base_url", "github_base_url", "microsoft_base_url", "microsoft_login_url"
    )
    @classmethod
    def _check_service(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value.strip())
        own = info.field_name == "firecrawl_base_url" or parts.hostname in ("127.0.0.1", "localhost", "::1")
        if (
            parts.scheme not in ("https", "http")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError("it is no address of a service; give it as https://host")
        if parts.scheme == "http" and not own:
            raise ValueError("a key would go there unprotected; give it as https://host")
        return value.strip().rstrip("/")

    @model_validator(mode="after")
    def _check_microsoft(self) -> Reaching:
        """All of it, or nothing."""
        names = ("microsoft_tenant", "microsoft_client_id", "microsoft_client_secret", "microsoft_user")
        missing = [f"ATLAS_{name.upper()}" for name in names if getattr(self, name) is None]
        if missing and len(missing) < len(names):
            raise ValueError(f"Microsoft 365 needs {', '.join(missing)} as well, or none of its settings")
        return self

    @field_validator("mcp_servers", "guard_rails")
    @classmethod
    def _expand_path(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else value
