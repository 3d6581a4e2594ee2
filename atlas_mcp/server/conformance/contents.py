"""Tools, resources and prompts of every kind of content, named and filled as the suite prescribes."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)

from atlas_mcp.server.conformance.jobs import said
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.tools import Tool

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="  # 1 by 1, a PNG
)
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="  # no sound, a WAV
IMAGE = ImageContent(type="image", data=PIXEL, mime_type="image/png")


def content_tools() -> list[Tool]:
    """The tools, ready to register."""
    kinds = (test_simple_text, test_image_content, test_audio_content, test_embedded_resource)
    others = (test_multiple_content_types, test_error_handling, test_tool_with_progress)
    logging = (test_tool_with_logging, test_logging_tool)
    return [define(tool, title=f"Conformance: {tool.__name__}") for tool in (*kinds, *others, *logging)]


def offer_contents(server: MCPServer[Any]) -> None:
    """Register the resources, the prompts, and the requests that belong to them."""
    server.resource("test://static-text", mime_type="text/plain")(static_text)
    server.resource("test://static-binary", mime_type="image/png")(static_binary)
    server.resource("test://watched-resource", mime_type="text/plain")(watched_resource)
    server.resource("test://template/{id}/data", mime_type="application/json")(template)
    for prompt in (test_simple_prompt, test_prompt_with_arguments, test_prompt_with_image):
        server.prompt()(prompt)
    server.prompt()(test_prompt_with_embedded_resource)
    low = server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
    low.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)


async def set_level(_: Any, __: SetLevelRequestParams) -> EmptyResult:
    """Take the level: what the suite's tools log is above all of them."""
    return EmptyResult()


def _content(*blocks: ContentBlock) -> CallToolResult:
    return CallToolResult(content=[*blocks])


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


async def test_simple_text() -> CallToolResult:
    """Give a text."""
    return said("This is a simple text response for testing.")


async def test_image_content() -> CallToolResult:
    """Give an image."""
    return _content(IMAGE)


async def test_audio_content() -> CallToolResult:
    """Give a sound."""
    return _content(AudioContent(type="audio", data=SILENCE, mime_type="audio/wav"))


async def test_embedded_resource() -> CallToolResult:
    """Give a resource."""
    return _content(_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))


async def test_multiple_content_types() -> CallToolResult:
    """Give a text, an image and a resource."""
    text = TextContent(type="text", text="Multiple content types test:")
    data = json.dumps({"test": "data", "value": 123}, separators=(",", ":"))
    return _content(text, IMAGE, _embedded("test://mixed-content-resource", "application/json", data))


async def test_error_handling() -> CallToolResult:
    """Fail."""
    raise ToolError("This tool intentionally returns an error for testing")


async def test_tool_with_progress(ctx: Context[Any, Any]) -> CallToolResult:
    """Tell of progress, then answer."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(0.05)
    return said("done")


async def test_tool_with_logging(ctx: Context[Any, Any]) -> CallToolResult:
    """Log three things, then answer."""
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", text, related_request_id=ctx.request_id)  # pyright: ignore[reportDeprecated]
        await anyio.sleep(0.05)
    return said("logged")


async def test_logging_tool(ctx: Context[Any, Any]) -> CallToolResult:
    """Log, where the request asked for it."""
    await ctx.session.send_log_message("info", "logged", related_request_id=ctx.request_id)  # pyright: ignore[reportDeprecated]
    return said("logged")


def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(PIXEL)


def watched_resource() -> str:
    """A text that can be subscribed to."""
    return "Watched resource content"


def template(id: str) -> str:
    """What the address says."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _from_user(content: ContentBlock) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def test_simple_prompt() -> list[dict[str, Any]]:
    """A prompt without arguments."""
    return [_from_user(_text("This is a simple prompt for testing."))]


def test_prompt_with_arguments(arg1: str, arg2: str) -> list[dict[str, Any]]:
    """A prompt that says its arguments."""
    return [_from_user(_text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]


def test_prompt_with_embedded_resource(resourceUri: str) -> list[dict[str, Any]]:  # noqa: N803  # the suite's name
    """A prompt with a resource."""
    resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [_from_user(resource), _from_user(_text("Please process the embedded resource above."))]


def test_prompt_with_image() -> list[dict[str, Any]]:
    """A prompt with an image."""
    return [_from_user(IMAGE), _from_user(_text("Please analyze the image above."))]
