"""The models that agents may use, in Letta's shapes. A handle is `provider/name`, as in Letta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services

DEFAULT_CONTEXT = 30_000


def llm_config(handle: str, context_window: int | None = None) -> dict[str, Any]:
    """Letta's description of a model, as far as a handle tells it."""
    provider, _, name = handle.rpartition("/")
    return {
        "model": name,
        "display_name": name,
        "handle": handle,
        "model_endpoint_type": provider or "openai",
        "model_endpoint": None,
        "provider_name": provider or None,
        "provider_category": "base",
        "context_window": context_window or DEFAULT_CONTEXT,
        "put_inner_thoughts_in_kwargs": False,
        "parallel_tool_calls": True,
    }


def routes(services: Services) -> APIRouter:
    """`/v1/models/`: the handles; there are no embedding models, because archives are searched by words."""
    router = APIRouter(prefix="/v1/models")

    @router.get("/")
    async def list_models() -> Response:
        return JSONResponse([_wire(handle, services.context_tokens) for handle in services.models.handles()])

    @router.get("/embedding")
    async def list_embedding_models() -> Response:
        return JSONResponse([])

    return router


def _wire(handle: str, context_tokens: int) -> dict[str, Any]:
    config = llm_config(handle, context_tokens)
    name = config["model"]
    extra = {"name": name, "model_type": "llm", "provider_type": config["model_endpoint_type"]}
    return config | extra | {"max_context_window": context_tokens}
