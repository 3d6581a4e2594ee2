"""The providers there are: what each needs, and how a model is named.

People and settings write `provider:name`; handles, as Letta has them, are `provider/name`. A name may itself contain
colons and slashes (`ollama:llama3.2:3b`, `openai:meta-llama/Llama-3.3-70B`): only the first one divides.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from urllib.parse import urlsplit

from atlas_mcp.errors import MissingPackage, UnknownModel

OFFLINE = "atlas/offline"
SCRIPTED = "scripted"
"""The provider whose models' names are files that say what is answered."""


@dataclass(frozen=True)
class Provider:
    """A provider of models. `keys` are the variables that may hold its key, the first being the one to tell people.

    `langchain` is its name for `init_chat_model`, `module` what must be importable, `extra` the extra of this package
    that installs it, `address` the variable that names another server, `home` the server without it.
    """

    name: str
    langchain: str
    module: str
    extra: str
    keys: tuple[str, ...] = ()
    address: str = ""
    home: str | None = None

    def require_package(self) -> None:
        """Raise MissingPackage unless the provider's package is installed; nothing is imported."""
        if find_spec(self.module) is None:
            raise MissingPackage(self.module.replace("_", "-"), self.extra)


PROVIDERS: dict[str, Provider] = {
    p.name: p
    for p in (
        Provider(
            "anthropic",
            "anthropic",
            "langchain_anthropic",
            "anthropic",
            ("ANTHROPIC_API_KEY",),
            "ANTHROPIC_BASE_URL",
            "https://api.anthropic.com",
        ),
        Provider(
            "openai",
            "openai",
            "langchain_openai",
            "openai",
            ("OPENAI_API_KEY",),
            "OPENAI_BASE_URL",
            "https://api.openai.com/v1",
        ),
        Provider("google", "google_genai", "langchain_google_genai", "google", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
        Provider("ollama", "ollama", "langchain_ollama", "ollama", (), "OLLAMA_HOST"),
        Provider(SCRIPTED, "scripted", "langchain_core", ""),
    )
}


@dataclass(frozen=True)
class ModelName:
    """A model of a known provider."""

    provider: Provider
    name: str

    @property
    def handle(self) -> str:
        """`provider/name`, Letta's form."""
        return f"{self.provider.name}/{self.name}"

    @property
    def text(self) -> str:
        """`provider:name`, as people write it."""
        return f"{self.provider.name}:{self.name}"


def parse_name(text: str, *, argument: str | None = None, divider: str = ":") -> ModelName:
    """The model that `provider:name` names; UnknownModel when it has another form or nobody knows the provider."""
    provider, divided, name = (part.strip() for part in text.partition(divider))
    if not divided or not provider or not name:
        raise UnknownModel(
            f"{text!r} is not a model's name: provider{divider}name is expected.",
            argument=argument,
            allowed=_forms(divider),
            next_step=f"{_suggestion(text, divider)}Providers are {', '.join(PROVIDERS)}.",
        )
    known = {p.langchain: p for p in PROVIDERS.values()} | PROVIDERS
    if provider.lower() not in known:
        close = get_close_matches(provider.lower(), list(PROVIDERS), n=1, cutoff=0.5)
        hint = f"Did you mean {close[0]}{divider}{name}? " if close else ""
        raise UnknownModel(
            f"no model provider is called {provider!r}.",
            argument=argument,
            allowed=list(PROVIDERS),
            next_step=f"{hint}Providers are {', '.join(PROVIDERS)}; "
            "any OpenAI-compatible server works as openai with OPENAI_BASE_URL set.",
        )
    return ModelName(known[provider.lower()], name)


def is_loopback(url: str | None) -> bool:
    """Whether the address is on this machine, so that a call to it leaves nothing and often needs no key."""
    host = (urlsplit(url or "").hostname or "").lower()
    return host in {"localhost", "::1"} or host.startswith("127.")


def _forms(divider: str) -> list[str]:
    return [f"{name}{divider}NAME" for name in PROVIDERS]


def _suggestion(text: str, divider: str) -> str:
    """What was meant, where the name alone tells the provider."""
    bare = text.strip().strip(":/")
    for provider in PROVIDERS.values():
        for wrong in ("/", ":"):
            if bare.lower().startswith(f"{provider.name}{wrong}"):
                return f"Write {provider.name}{divider}{bare[len(provider.name) + 1 :]}. "
    families = {"claude": "anthropic", "gpt": "openai", "o3": "openai", "o4": "openai", "gemini": "google"}
    for family, name in families.items():
        if bare.lower().startswith(family):
            return f"Write {name}{divider}{bare}. "
    return ""
