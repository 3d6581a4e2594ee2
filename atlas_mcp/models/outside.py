"""A configured model as MLflow's own calls reach it: its address in MLflow's words, and the variables that it reads.

For child processes alone: MLflow takes keys from the environment, and a process that serves sets none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.models.catalog import SCRIPTED

if TYPE_CHECKING:
    from atlas_mcp.models.catalog import ModelName

_URIS = {"openai": "openai", "anthropic": "anthropic", "google": "gemini", "ollama": "openai"}


def for_mlflow(name: ModelName, key: str | None, address: str | None) -> tuple[str, dict[str, str]]:
    """The model's URI, and the variables that MLflow needs for it, among them the key.

    ConfigurationError for Anthropic at an address of one's own, and for a scripted model: MLflow does not reach them.
    """
    if name.provider.name == SCRIPTED:
        raise ConfigurationError(
            f"MLflow does not reach {name.text}, which is a script.", next_step="Use a model for it."
        )
    uri = f"{_URIS[name.provider.name]}:/{name.name}"
    match name.provider.name:
        case "anthropic":
            if address != name.provider.home:
                raise ConfigurationError(
                    f"MLflow reaches {name.text} at {name.provider.home} only, not at {address}.",
                    argument="ANTHROPIC_BASE_URL",
                    next_step="Unset it for this command, or use another model for it.",
                )
            return uri, {"ANTHROPIC_API_KEY": key or ""}
        case "google":
            return uri, {"GEMINI_API_KEY": key or ""}
        case "ollama":  # which speaks OpenAI's protocol too
            root = (address or "http://127.0.0.1:11434").rstrip("/")
            root = root if "://" in root else f"http://{root}"
            return uri, {"OPENAI_API_KEY": "none", "OPENAI_API_BASE": f"{root}/v1"}
        case _:
            return uri, {"OPENAI_API_KEY": key or "none", "OPENAI_API_BASE": address or ""}
