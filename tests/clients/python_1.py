"""The journey of tests/clients/journey.py, made with the Python SDK's generation 1; run in an environment of its own.

Reads what to do from its only argument; prints what it saw. That client sends nothing when a call is given up.
"""

import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import httpx
import mcp.types as types
from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

ASKED = json.loads(sys.argv[1])
QUESTIONS, HEARD, NEWS = [], [], anyio.Event()


async def answer(_, params):
    QUESTIONS.append(params.model_dump(mode="json", by_alias=True))
    return types.ElicitResult(action="accept", content={"answer": "approve"})


async def hear(message):
    if isinstance(message, types.ServerNotification) and isinstance(message.root, types.ResourceUpdatedNotification):
        HEARD.append(str(message.root.params.uri))
        NEWS.set()


@asynccontextmanager
async def streams():
    headers = {"Authorization": f"Bearer {ASKED.get('key')}"}
    if ASKED["door"] == "stdio":
        command, *arguments = ASKED["command"]
        async with stdio_client(StdioServerParameters(command=command, args=arguments, env={**os.environ})) as both:
            yield both
    elif ASKED["door"] == "sse":
        async with sse_client(f"{ASKED['address']}/sse", headers=headers) as both:
            yield both
    else:
        async with (
            httpx.AsyncClient(headers=headers, timeout=90) as http,
            streamable_http_client(f"{ASKED['address']}/mcp", http_client=http) as (reading, writing, _),
        ):
            yield reading, writing


async def told(session, tool, **arguments):
    result = await session.call_tool(tool, arguments)
    assert not result.isError, result
    return result.structuredContent


async def until(session, run_id, status):
    while True:
        run = await told(session, "get_run", run_id=run_id, wait_seconds=0)  # one that waits puts the question to us
        if run["status"] == status:
            return run
        assert run["status"] not in {"completed", "failed", "cancelled"}, f"it ended otherwise: {run}"
        await anyio.sleep(0.1)


async def whole(session, begun):
    progress = []

    async def on_progress(*news):
        progress.append(dict(zip(("progress", "total", "message"), news, strict=True)))

    result = await session.call_tool(
        "run_team_task", {**ASKED["task"], "approve_plan": True}, timedelta(seconds=90), on_progress
    )
    questions = [*QUESTIONS]
    run = await until(session, result.structuredContent["run_id"], "completed")
    read = await session.read_resource(f"atlas://runs/{run['run_id']}")
    agent = types.ResourceTemplateReference(type="ref/resource", uri="atlas://agents/{agent}")
    return {
        "version": dump(begun.serverInfo),
        "instructions": begun.instructions,
        "tools": [tool.name for tool in (await session.list_tools()).tools],
        "agents": await told(session, "list_agents"),
        "refused": dump(await session.call_tool("chat_with_agent", {"agent": "nobody", "message": "Hello."})),
        "progress": progress,
        "result": dump(result),
        "questions": questions,
        "run": run,
        "templates": [one.uriTemplate for one in (await session.list_resource_templates()).resourceTemplates],
        "read": json.loads(read.contents[0].text),
        "prompts": [prompt.name for prompt in (await session.list_prompts()).prompts],
        "prompt": dump(await session.get_prompt("delegate", ASKED["prompt"])),
        "completed": dump(await session.complete(agent, {"name": "agent", "value": "lib"})),
        "heard": await heard_of(session),
    }


async def heard_of(session):
    run = await told(session, "run_team_task", **ASKED["task"], approve_plan=True, wait_seconds=0)
    uri = f"atlas://runs/{run['run_id']}"
    await session.subscribe_resource(uri)
    await until(session, run["run_id"], "awaiting_answer")
    await told(session, "answer_run", run_id=run["run_id"], answer="reject")
    await NEWS.wait()
    await until(session, run["run_id"], "failed")
    await session.unsubscribe_resource(uri)
    return {"uri": uri, "heard": HEARD}


async def begun_run(session):
    while True:
        for run in (await told(session, "list_runs"))["runs"]:
            if run["status"] in {"queued", "working"}:
                return run["run_id"]
        await anyio.sleep(0.1)


async def given_up(session, _):
    async with anyio.create_task_group() as calls:
        calls.start_soon(session.call_tool, "run_team_task", ASKED["task"])
        run_id = await begun_run(session)
        calls.cancel_scope.cancel()
    going_on = await told(session, "get_run", run_id=run_id, wait_seconds=1)
    return {"before": going_on["status"], "run": await told(session, "cancel_run", run_id=run_id)}


def dump(model):
    return model.model_dump(mode="json", by_alias=True)


async def main():
    async with (
        streams() as (reading, writing),
        ClientSession(reading, writing, elicitation_callback=answer, message_handler=hear) as session,
    ):
        begun = await session.initialize()
        seen = await {"whole": whole, "cancelled": given_up}[ASKED["journey"]](session, begun)
        sys.stdout.write(json.dumps(seen))
        sys.stdout.flush()
        os._exit(0)  # that SDK fails to close while the answer to a call that was given up still comes


anyio.run(main)
