"""The models that agents answer with: chosen by tier and level, made once, asked through their chain.

Only with no model configured at all does the offline model answer. A configured model that fails, or whose key or
package is missing, is an error that says what to mend. Nothing here is imported from LangChain before a model is first
asked for, and nothing is sent over the network before a model is called.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast, get_args

import anyio.to_thread
from pydantic import SecretStr

from atlas_mcp.errors import ConfigurationError, MissingKey, UnknownModel
from atlas_mcp.model.agent import Level, Tier
from atlas_mcp.models import prices
from atlas_mcp.models.catalog import OFFLINE, PROVIDERS, SCRIPTED, ModelName, is_loopback, parse_name
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.models.offline.note import OFFLINE_NOTE
from atlas_mcp.models.remaining import Remaining

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import BaseChatModel

__all__ = ["OFFLINE_NOTE", "Models"]


class Models:
    """The configured models, or the offline model where none is configured."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._own: dict[str, ModelName] = {}
        self._made: dict[str, BaseChatModel] = {}
        self._making = Lock()
        self.remaining = Remaining()

    @property
    def offline(self) -> bool:
        """True only when no model is configured at all: then the offline model answers."""
        return not self._config.named() and not self._own

    def handle(self, tier: Tier, level: Level, own: str | None = None) -> str:
        """The handle of the model for such an agent, `provider/name`; `own` is the model its roster names for it.

        UnknownModel when some models are configured but none for this agent, or when the name cannot be read.
        """
        chosen = self._config.choose(tier, level, own)
        if chosen is None:
            if self.offline:
                return OFFLINE
            raise UnknownModel(
                f"no model is configured for {tier}s at level {level}, though others have one.",
                argument="ATLAS_MODEL",
                next_step="Set ATLAS_MODEL to provider:name for all agents that have no model of their own.",
            )
        name = parse_name(chosen)
        if own:
            self._own[name.handle] = name
        return name.handle

    def handles(self) -> list[str]:
        """Every handle that may be used, without doubles; `atlas/offline` alone when no model is configured."""
        return list(self._names()) or [OFFLINE]

    async def chat(self, handle: str) -> BaseChatModel:
        """The chat model for a handle: made once, with the fallbacks behind it.

        UnknownModel (a LookupError) when the handle is not one of `handles()`; MissingKey and MissingPackage when it,
        or a fallback, cannot be used.
        """
        if handle in self._made:
            return self._made[handle]
        return await anyio.to_thread.run_sync(self._make, handle)

    def check(self) -> None:
        """Raise for the first thing configured that cannot be used; nothing is imported and nothing is called."""
        for setting, text in self._config.named().items():
            self._usable(parse_name(text, argument=setting))
        for tier in get_args(Tier):
            for level in get_args(Level):
                self.handle(tier, level)

    def providers(self) -> list[str]:
        """The providers that the configuration needs, by name; empty for the offline model."""
        return list(dict.fromkeys(name.provider.name for name in self._names().values()))

    def outside(self, handle: str) -> tuple[str, dict[str, str]]:
        """The model as MLflow reaches it: its URI there, and the variables it needs. See `models.outside`.

        UnknownModel for what is not one of `handles()`, MissingKey, ConfigurationError for what MLflow does not reach.
        """
        from atlas_mcp.models.outside import for_mlflow

        if (name := self._names().get(handle)) is None:
            raise UnknownModel(f"no model {handle!r} is configured.", argument="model", allowed=self.handles())
        key = self._key(name)
        return for_mlflow(name, key.get_secret_value() if key else None, self._address(name))

    def cost(self, handle: str, input_tokens: int, output_tokens: int) -> float | None:
        """Dollars for so many tokens, or None where the model's price is not known; never taken for free."""
        return prices.cost(handle, input_tokens, output_tokens, self._config.price(handle))

    def _names(self) -> dict[str, ModelName]:
        configured = [parse_name(text, argument=setting) for setting, text in self._config.named().items()]
        return {name.handle: name for name in configured} | self._own

    def _make(self, handle: str) -> BaseChatModel:
        with self._making:
            if handle not in self._made:
                self._made[handle] = self._offline_model() if self._is_offline(handle) else self._chain(handle)
            return self._made[handle]

    def _is_offline(self, handle: str) -> bool:
        return handle == OFFLINE and self.offline

    def _offline_model(self) -> BaseChatModel:
        from atlas_mcp.models.offline.model import OfflineModel

        return OfflineModel(delay=self._config.offline_delay)

    def _chain(self, handle: str) -> BaseChatModel:
        from atlas_mcp.models.chain import ChainModel, Member

        known = self._names()
        if handle not in known:
            raise UnknownModel(
                f"no model {handle!r} is configured.",
                argument="model",
                allowed=self.handles(),
                next_step=f"There are: {', '.join(self.handles())}.",
            )
        fallbacks = [parse_name(text) for text in self._config.fallbacks]
        order = {name.handle: name for name in (known[handle], *fallbacks)}
        members = tuple(Member(name, self._model(name), self.remaining) for name in order.values())
        secrets = tuple(s.get_secret_value() for name, s in self._config.keys.items() if name.endswith("_KEY"))
        return ChainModel(members=members, secrets=secrets)

    def _model(self, name: ModelName) -> BaseChatModel:
        """The provider's own chat model. Addresses and keys are given, so that it looks into no environment."""
        from langchain.chat_models import init_chat_model

        self._usable(name)
        if name.provider.name == SCRIPTED:
            return self._scripted(name)
        try:
            make = cast("Callable[..., BaseChatModel]", init_chat_model)
            return make(name.name, model_provider=name.provider.langchain, **self._options(name))
        except (ImportError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"the model {name.text} cannot be set up: {' '.join(str(error).split())[:300]}", argument="ATLAS_MODEL"
            ) from error

    def _scripted(self, name: ModelName) -> BaseChatModel:
        from atlas_mcp.models.chain import Member
        from atlas_mcp.models.scripted.model import ScriptedModel
        from atlas_mcp.models.scripted.reading import read_script

        script = read_script(Path(name.name))
        behind = parse_name(script.otherwise) if script.otherwise else name
        model = self._model(behind) if script.otherwise else self._offline_model()
        return ScriptedModel(script=script, otherwise=Member(behind, model, self.remaining))

    def _options(self, name: ModelName) -> dict[str, Any]:
        config, provider = self._config, name.provider
        if provider.name == "ollama":  # its client knows no retries: it is on this machine, or near
            return {"base_url": self._address(name), "client_kwargs": {"timeout": config.timeout}}
        options: dict[str, Any] = {"api_key": self._key(name), "timeout": config.timeout}
        # Google's client counts attempts, the others count what follows the first one
        options["max_retries"] = config.retries + 1 if provider.name == "google" else config.retries
        if provider.name != "google":
            options["base_url"] = self._address(name)
        if provider.name == "openai":
            options["stream_usage"] = True
            options["include_response_headers"] = True  # taken out again by the chain
            if self._address(name) != provider.home:
                options["use_responses_api"] = False  # compatible servers speak chat completions, whatever the name
        return options

    def _address(self, name: ModelName) -> str | None:
        provider = name.provider
        given = self._config.base_url if provider.name == "openai" else None
        return given or self._config.secret(provider.address) or provider.home

    def _key(self, name: ModelName) -> SecretStr | None:
        """The provider's key. A server on this machine needs none, and gets a word in its place."""
        if not name.provider.keys:
            return None
        if key := self._config.secret(*name.provider.keys):
            return SecretStr(key)
        if is_loopback(self._address(name)):
            return SecretStr("none")
        raise MissingKey(name.provider.name, name.provider.keys[0])

    def _usable(self, name: ModelName) -> None:
        self._key(name)
        PROVIDERS[name.provider.name].require_package()
        if name.provider.name == SCRIPTED:
            from atlas_mcp.models.scripted.reading import read_script

            read_script(Path(name.name))
