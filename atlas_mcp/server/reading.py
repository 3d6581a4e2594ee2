"""How resources are offered and read; what is not there, or is another's, is not found, and never anything else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.server.mcpserver.resources.templates import DEFAULT_RESOURCE_SECURITY, ResourceTemplate
from mcp.shared.uri_template import UriTemplate

from atlas_mcp.errors import AtlasError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from mcp.server import MCPServer

JSON = "application/json"


def offer(
    server: MCPServer[Any],
    uri: str,
    read: Callable[..., Awaitable[str]],
    *,
    name: str,
    title: str,
    description: str,
    mime: str = JSON,
) -> None:
    """Offer what `read` gives for each address of that form, as JSON unless `mime` says something else; it is given the
    parts as they are written there, and `ctx`. Made by hand: the SDK would make a model of each function's arguments,
    for which the start would wait.
    """
    template = ResourceTemplate(
        uri_template=uri,
        name=name,
        title=title,
        description=description,
        mime_type=mime,
        fn=read,
        parameters={},
        context_kwarg="ctx",
        parsed_template=UriTemplate.parse(uri),
        security=DEFAULT_RESOURCE_SECURITY,
    )
    manager = server._resource_manager  # pyright: ignore[reportPrivateUsage]  # its door makes the models
    manager._templates[uri] = template  # pyright: ignore[reportPrivateUsage]


@contextmanager
def reading() -> Generator[None]:
    """Say in the protocol's words what the body raises: an address is all that a reader gives, so that input that
    cannot be used is an address of nothing."""
    try:
        yield
    except InvalidInput as error:
        raise ResourceNotFoundError(str(error)) from None
    except AtlasError as error:
        raise ResourceError(str(error)) from None
