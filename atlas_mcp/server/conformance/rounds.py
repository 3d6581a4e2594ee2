"""Tools and a prompt that need something of the client first: in rounds since 2026-07-28, by requests before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.types import (
    CallToolResult,
    ClientCapabilities,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingCapability,
    SamplingMessage,
    TextContent,
)
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, MissingRequiredClientCapabilityErrorData

from atlas_mcp.server.asking import NeedsInput
from atlas_mcp.server.conformance.jobs import said
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.tools import Tool

Ctx: TypeAlias = Context[Any, Any]
CHOICES = ["active", "inactive", "pending"]


def round_tools() -> list[Tool]:
    """The tools, ready to register."""
    rounds = (
        elicitation,
        sampling,
        list_roots,
        request_state,
        multiple_inputs,
        multi_round,
        tampered_state,
        capabilities,
    )
    named = {f"test_input_required_result_{tool.__name__}": tool for tool in rounds}
    others = (test_streaming_elicitation, test_missing_capability, test_trigger_tool_change, test_trigger_prompt_change)
    older = (test_sampling, test_elicitation, test_elicitation_sep1034_defaults, test_elicitation_sep1330_enums)
    named |= {tool.__name__: tool for tool in (*others, *older)}
    tools: list[Tool] = []
    for name, function in named.items():
        tools.append(tool := define(function, title=f"Conformance: {name}"))
        tool.name = name
    return tools


def offer_rounds(server: MCPServer[Any]) -> None:
    """Register the prompt."""
    server.prompt(name="test_input_required_result_prompt")(prompt)


def _form(message: str, field: str, type: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": type}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _sample(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def _needs(state: str | None = None, **requests: ElicitRequest | CreateMessageRequest | ListRootsRequest) -> NoReturn:
    raise NeedsInput(InputRequiredResult(input_requests={**requests}, request_state=state))


def _accepted(ctx: Ctx, key: str, field: str) -> Any:
    given = (ctx.input_responses or {}).get(key)
    return (given.content or {}).get(field) if isinstance(given, ElicitResult) else None


def _sampled(ctx: Ctx, key: str) -> str | None:
    given = (ctx.input_responses or {}).get(key)
    return str(given.content) if isinstance(given, CreateMessageResult) else None


def _roots(ctx: Ctx, key: str) -> str | None:
    given = (ctx.input_responses or {}).get(key)
    return ", ".join(str(root.uri) for root in given.roots) if isinstance(given, ListRootsResult) else None


async def elicitation(ctx: Ctx) -> CallToolResult:
    """Ask for a name, then greet."""
    if (name := _accepted(ctx, "user_name", "name")) is None:
        _needs(user_name=_form("What is your name?", "name"))
    return said(f"Hello, {name}!")


async def sampling(ctx: Ctx) -> CallToolResult:
    """Have the client's model asked."""
    if (answer := _sampled(ctx, "capital_question")) is None:
        _needs(capital_question=_sample("What is the capital of France?", 100))
    return said(answer)


async def list_roots(ctx: Ctx) -> CallToolResult:
    """Ask for the client's roots."""
    if (roots := _roots(ctx, "client_roots")) is None:
        _needs(client_roots=ListRootsRequest())
    return said(f"roots: {roots}")


async def request_state(ctx: Ctx) -> CallToolResult:
    """Get the state back that was given with the question."""
    if _accepted(ctx, "confirm", "ok") is None or ctx.request_state != "begun":
        _needs("begun", confirm=_form("Please confirm", "ok", "boolean"))
    return said("state-ok")


async def tampered_state(ctx: Ctx) -> CallToolResult:
    """As before; a state that was changed never comes so far."""
    return await request_state(ctx)


async def multiple_inputs(ctx: Ctx) -> CallToolResult:
    """Ask for three things at once."""
    name, greeting = _accepted(ctx, "user_name", "name"), _sampled(ctx, "greeting")
    roots = _roots(ctx, "client_roots")
    if None in (name, greeting, roots):
        _needs(
            "begun",
            user_name=_form("What is your name?", "name"),
            greeting=_sample("Generate a greeting", 50),
            client_roots=ListRootsRequest(),
        )
    return said(f"{greeting} {name} {roots}")


async def multi_round(ctx: Ctx) -> CallToolResult:
    """Ask one thing, then another."""
    if ctx.request_state is None:
        _needs("round 1", step1=_form("Step 1: What is your name?", "name"))
    if ctx.request_state == "round 1":
        _needs("round 2", step2=_form("Step 2: What is your favorite color?", "color"))
    return said(f"done: {_accepted(ctx, 'step2', 'color')}")


async def capabilities(ctx: Ctx) -> CallToolResult:
    """Ask only for what the client can do."""
    able = ctx.client_capabilities or ClientCapabilities()
    requests: dict[str, Any] = {}
    if able.elicitation is not None:
        requests["user_name"] = _form("What is your name?", "name")
    if able.sampling is not None:
        requests["greeting"] = _sample("Generate a greeting", 50)
    if not requests or ctx.input_responses:
        return said("nothing is needed")
    _needs(**requests)


async def test_streaming_elicitation(ctx: Ctx) -> CallToolResult:
    """Tell of progress, then ask."""
    await ctx.report_progress(1, 2, "asking")
    return await elicitation(ctx)


async def test_missing_capability(ctx: Ctx) -> CallToolResult:
    """Refuse a client whose model cannot be asked."""
    if ctx.client_capabilities is None or ctx.client_capabilities.sampling is None:
        needed = ClientCapabilities(sampling=SamplingCapability())
        data = MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
        shown = data.model_dump(by_alias=True, exclude_none=True)
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool needs sampling", shown)
    return said("sampling is there")


async def test_trigger_tool_change(ctx: Ctx) -> CallToolResult:
    """Say that the tools have changed."""
    await ctx.notify_tools_changed()
    return said("told")


async def test_trigger_prompt_change(ctx: Ctx) -> CallToolResult:
    """Say that the prompts have changed."""
    await ctx.notify_prompts_changed()
    return said("told")


async def test_sampling(ctx: Ctx, prompt: str) -> CallToolResult:
    """Ask the client's model, by a request."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    given = await ctx.session.create_message(  # pyright: ignore[reportDeprecated]
        [message], max_tokens=100, related_request_id=ctx.request_id
    )
    text = given.content.text if isinstance(given.content, TextContent) else "no text"
    return said(f"LLM response: {text}")


async def _ask(ctx: Ctx, message: str, properties: dict[str, Any]) -> CallToolResult:
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    given = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return said(f"User response: action={given.action}, content={given.content}")


async def test_elicitation(ctx: Ctx, message: str) -> CallToolResult:
    """Ask a person, by a request."""
    return await _ask(ctx, message, {"username": {"type": "string"}, "email": {"type": "string"}})


async def test_elicitation_sep1034_defaults(ctx: Ctx) -> CallToolResult:
    """Ask with defaults of every kind."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": CHOICES, "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await _ask(ctx, "Please provide user information", properties)


async def test_elicitation_sep1330_enums(ctx: Ctx) -> CallToolResult:
    """Ask with choices of every kind."""
    options = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    properties = {
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": options, "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await _ask(ctx, "Please choose", properties)


async def prompt(ctx: Context) -> list[dict[str, Any]] | InputRequiredResult:
    """A prompt that needs something first."""
    if (context := _accepted(ctx, "user_context", "context")) is None:
        return InputRequiredResult(
            input_requests={"user_context": _form("What context should the prompt use?", "context")}
        )
    return [{"role": "user", "content": TextContent(type="text", text=f"The context is {context}.")}]
