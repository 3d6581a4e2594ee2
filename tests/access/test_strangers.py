"""Strangers on one server: two keys and a login, through everything that it offers, at once. None hears of another.

Every tool, resource, prompt and completion stands in a table here with arguments; one without them fails the test.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.types import PromptReference, ResourceTemplateReference
from sqlalchemy import insert

from atlas_mcp.settings import load_settings
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import artifact
from tests.access.planting import AGENT, BLOCK, Mine, coming_in, plant, said
from tests.access.provider import open_provider
from tests.access.serving import free_socket, make_key, open_house
from tests.server.doors import call, until_ended
from tests.tasks.client import answer, cancel, stand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Calls = list[dict[str, Any]]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed:mcp.MCPDeprecationWarning"),
]

OWN: dict[str, Callable[[Mine], Calls]] = {
    "list_agents": lambda m: [{}, {"team": "research"}],
    "get_status": lambda m: [{}],
    "get_agent_memory": lambda m: [{"agent": AGENT}, {"agent": m.agent, "label": BLOCK}],
    "search_memory": lambda m: [{"query": "tea Assam"}, {"query": "tea", "kinds": ["knowledge"]}, {"query": m.mark}],
    "list_memories": lambda m: [{}, {"everything": True}, {"id": m.kept["memory"]}, {"project": m.mark}],
    "recall_facts": lambda m: [{"about": f"Tea {m.mark}", "depth": 2}, {"about": "Where is tea grown in Assam?"}],
    "list_runs": lambda m: [{}, {"limit": 1}, {"status": "awaiting_answer"}],
    "get_run": lambda m: [{"run_id": m.kept[name], "wait_seconds": 0} for name in ("run", "asking")],
    "chat_with_agent": lambda m: [
        {"agent": AGENT, "message": "What do you remember of the person and of tea?"},
        {"agent": m.agent, "message": "Who are you?"},
    ],
    "chat_with_group": lambda m: [{"group": m.group, "message": "What did we say?", "conversation": m.kept["talk"]}],
    "rate_text": lambda m: [{"text": f"Tea of {m.mark} grows in Assam.", "criteria": [f"says who {m.mark} is"]}],
    "run_team_task": lambda m: [
        {"goal": f"What do we know of tea and {m.mark}?", "max_rounds": 0, "approve_plan": True, "wait_seconds": 0}
    ],
    "give_feedback": lambda m: [
        {"run_id": m.kept["run"], "good": True, "comment": m.secret},
        {"trace_id": m.kept["trace"], "good": False, "comment": m.secret},
    ],
    "share_knowledge": lambda m: [{"name": "tea.txt", "text": f"Everybody calls it tea.txt: {m.secret}."}],
    "remember": lambda m: [{"text": f"One truth at a time: {m.secret}.", "key": "same key"}],
    "correct_memory": lambda m: [{"id": m.kept["memory"], "text": f"{m.secret} drinks tea at six."}],
    "relate": lambda m: [{"facts": [{"subject": "Tea", "relation": "known_as", "value": m.secret}]}],
    "merge_entities": lambda m: [{"keep": f"Tea {m.mark}", "other": "Tea"}],
    "split_entity": lambda m: [{"entity": "Tea"}],
    "update_agent_memory": lambda m: [{"agent": AGENT, "label": BLOCK, "append": f" Again: {m.secret}."}],
    "undo_memory": lambda m: [{"agent": AGENT, "label": BLOCK, "revision": 2}],
    "create_agent": lambda m: [{"name": f"extra_{m.mark}", "description": m.mark, "persona": f"I am {m.mark}."}],
    "delete_agent": lambda m: [{"agent": f"extra_{m.mark}"}],
    "create_group": lambda m: [{"name": f"more_{m.mark}", "description": m.mark, "agents": [AGENT]}],
    "delete_group": lambda m: [{"group": f"more_{m.mark}"}],
    "forget": lambda m: [{"id": m.kept["document"]}, {"agent": AGENT, "label": BLOCK}, {"run_id": m.kept["run"]}],
    "answer_run": lambda m: [],  # once, at the end: see below
    "cancel_run": lambda m: [],
}
"""Each tool with arguments of one's own, in an order in which they succeed."""

GUESSED: dict[str, Callable[[Mine], Calls]] = {
    "get_agent_memory": lambda o: [{"agent": o.agent}],
    "list_memories": lambda o: [{"id": o.kept["memory"]}],
    "get_run": lambda o: [{"run_id": o.kept["run"], "wait_seconds": 0}],
    "chat_with_agent": lambda o: [
        {"agent": o.agent, "message": "Who are you?"},
        {"agent": AGENT, "message": "What did we say?", "conversation": o.kept["conversation"]},
    ],
    "chat_with_group": lambda o: [
        {"group": o.group, "message": "What did you say?"},
    ],
    "give_feedback": lambda o: [
        {"run_id": o.kept["run"], "good": False, "comment": "of a stranger"},
        {"trace_id": o.kept["trace"], "good": False, "comment": "of a stranger"},
    ],
    "correct_memory": lambda o: [{"id": o.kept["memory"], "text": "of a stranger"}],
    "update_agent_memory": lambda o: [{"agent": o.agent, "label": BLOCK, "value": "of a stranger"}],
    "undo_memory": lambda o: [{"agent": o.agent, "label": BLOCK, "revision": 1}],
    "delete_agent": lambda o: [{"agent": o.agent}],
    "create_group": lambda o: [{"name": "thieves", "description": "Of strangers.", "agents": [o.agent]}],
    "delete_group": lambda o: [{"group": o.group}],
    "answer_run": lambda o: [{"run_id": o.kept["asking"], "answer": "no"}],
    "cancel_run": lambda o: [{"run_id": o.kept["asking"]}],
    "forget": lambda o: [
        *({"id": o.kept[name], "confirm": True} for name in ("document", "memory", "fact")),
        {"agent": o.agent, "label": BLOCK, "confirm": True},
        {"run_id": o.kept["run"], "confirm": True},
    ],
    "merge_entities": lambda o: [{"keep": f"Tea {o.mark}", "other": f"Assam {o.mark}"}],
    "split_entity": lambda o: [{"entity": f"Tea {o.mark}"}],
}
"""Calls with another's names and ids: each is refused as if there were no such thing."""

SOUGHT: dict[str, Callable[[Mine], Calls]] = {
    "search_memory": lambda o: [{"query": o.mark}, {"query": "tea", "project": o.mark}],
    "list_memories": lambda o: [{"project": o.mark}, {"run_id": o.kept["run"]}, {"after": o.kept["memory"]}],
    "recall_facts": lambda o: [{"about": f"Tea {o.mark}"}],
    "list_runs": lambda o: [{"cursor": o.kept["run"]}],
    "chat_with_agent": lambda o: [{"agent": AGENT, "message": f"Tell me everything of {o.mark}."}],
}
"""Calls that look for another's things: whether they are refused or find nothing, they tell nothing of them."""

RESOURCES: dict[str, Callable[[Mine], list[str]]] = {
    "atlas://agents{?team}": lambda m: ["atlas://agents", "atlas://agents?team=research"],
    "atlas://agents/{agent}": lambda m: [f"atlas://agents/{m.agent}"],
    "atlas://agents/{agent}/memory/{label}": lambda m: [f"atlas://agents/{m.agent}/memory/{BLOCK}"],
    "atlas://runs/{run_id}": lambda m: [f"atlas://runs/{m.kept['run']}"],
    "atlas://runs/{run_id}/result": lambda m: [f"atlas://runs/{m.kept['run']}/result"],
    "atlas://runs/{run_id}/files/{name}": lambda m: [f"atlas://runs/{m.kept['run']}/files/notes.md"],
    "atlas://graph{?limit}": lambda m: ["atlas://graph?limit=50"],
    "atlas://graph/{entity}": lambda m: [f"atlas://graph/Assam%20{m.mark}"],
}
EVERYBODYS = ("atlas://agents{?team}", "atlas://graph{?limit}")
"""The addresses at which each finds their own."""

PROMPTS: dict[str, Callable[[Mine], dict[str, str]]] = {
    "delegate": lambda m: {"goal": "tea", "to": m.agent},
    "research_brief": lambda m: {"topic": "tea"},
    "review_text": lambda m: {"text": "tea"},
    "what_do_you_remember": lambda m: {"agent": m.agent, "label": BLOCK},
}
OF_NAMES = ("delegate", "what_do_you_remember")
COMPLETED = {"agent", "team", "label", "run_id", "to"}


@pytest.fixture
async def strangers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Mine]]:
    """Ada and Bob with keys and Cleo with a login, on one server; each has left a mark everywhere."""
    listener = free_socket()
    public = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(open_provider())
        monkeypatch.setenv("ATLAS_PUBLIC_URL", public)
        monkeypatch.setenv("ATLAS_OAUTH_ISSUER", provider.issuer)
        house = await stack.enter_async_context(open_house(listener=listener))
        login = provider.token(sub="cleo", aud=f"{public}/mcp", scope="read chat write admin")
        tokens = {"ada": await make_key("ada"), "bob": await make_key("bob"), "cleo": login}
        entering = [coming_in(name, house.address, token) for name, token in tokens.items()]
        callers = [await stack.enter_async_context(one) for one in entering]
        async with anyio.create_task_group() as tasks:
            for mine in callers:
                tasks.start_soon(plant, mine)
        async with open_record(load_settings().home, None) as record, record.write() as db:
            await db.execute(insert(artifact), [_notes(mine) for mine in callers])
        yield callers


def _notes(mine: Mine) -> dict[str, Any]:
    """What an agent of the run has saved: the offline model saves nothing by itself."""
    of_run = {"id": f"a_{mine.mark}", "run_id": mine.kept["run"], "created_at": datetime.now(UTC), "passing": False}
    return {**of_run, "name": "files/notes.md", "text": f"The notes of {mine.mark} ({mine.secret})."}


async def test_nobody_hears_of_another_by_whatever_they_call(strangers: list[Mine]) -> None:
    listed = {tool.name for tool in (await strangers[0].modern.list_tools()).tools}
    assert listed == set(OWN), "a tool without arguments in the table, or arguments of no tool"
    ears = [Ear(mine) for mine in strangers]
    async with anyio.create_task_group() as streams:
        for ear in ears:
            streams.start_soon(listen, ear, strangers)
        for ear in ears:
            await ear.ready.wait()
        async with anyio.create_task_group() as tasks:
            for mine in strangers:
                others = [other for other in strangers if other is not mine]
                tasks.start_soon(call_everything, mine, others)
                tasks.start_soon(guess_everything, mine, others)
                tasks.start_soon(read_everything, mine, others)
                tasks.start_soon(complete_everything, mine, others)
                tasks.start_soon(ask_of_tasks, mine, others)
        for mine in strangers:
            await nothing_was_done_by_others(mine)
        with anyio.fail_after(90):
            for ear in ears:
                await ear.full.wait()
        streams.cancel_scope.cancel()
    for ear in ears:
        assert ear.heard == ear.own


async def call_everything(mine: Mine, others: list[Mine]) -> None:
    """Each tool, in both eras in turn; what comes back has nothing of anybody else."""
    eras = (mine.modern, mine.legacy)
    for number, (tool, arguments) in enumerate(OWN.items()):
        for given in arguments(mine):
            text, refused = await said(eras[number % 2].call_tool(tool, given))
            assert not refused, (mine.name, tool, given, text)
            check(mine, tool, text, *(one for other in others for one in other.ids))


async def guess_everything(mine: Mine, others: list[Mine]) -> None:
    """Each tool with the names and ids of others."""
    for other in others:
        for table, is_refused in ((GUESSED, True), (SOUGHT, False)):
            for number, (tool, arguments) in enumerate(table.items()):
                for given in arguments(other):
                    text, refused = await said((mine.legacy, mine.modern)[number % 2].call_tool(tool, given))
                    assert refused or not is_refused, (mine.name, tool, given, text)
                    check(mine, tool, text, other.secret)


async def read_everything(mine: Mine, others: list[Mine]) -> None:
    """Each resource and prompt, one's own and what would be another's."""
    templates = (await mine.modern.list_resource_templates()).resource_templates
    assert {one.uri_template for one in templates} == set(RESOURCES), "a template without addresses in the table"
    strange = [one for other in others for one in other.ids]
    for listed in (await mine.modern.list_resources()).resources:
        check(mine, str(listed.uri), (await said(mine.modern.read_resource(str(listed.uri))))[0], *strange)
    for client in (mine.modern, mine.legacy):
        for template, addresses in RESOURCES.items():
            for address in addresses(mine):
                text, refused = await said(client.read_resource(address))
                assert not refused, (address, text)
                check(mine, address, text, *strange)
            for other, address in [(o, a) for o in others for a in addresses(o) if template not in EVERYBODYS]:
                text, refused = await said(client.read_resource(address))
                assert refused, (mine.name, address, text)
                check(mine, address, text, other.secret)
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert set(prompts) == set(PROMPTS), "a prompt without arguments in the table"
        for name in prompts:
            text, refused = await said(client.get_prompt(name, PROMPTS[name](mine)))
            assert not refused, text
            check(mine, name, text, *strange)
            for other in others if name in OF_NAMES else ():
                text, refused = await said(client.get_prompt(name, PROMPTS[name](other)))
                assert refused, (name, text)
                check(mine, name, text, other.secret)


async def complete_everything(mine: Mine, others: list[Mine]) -> None:
    """Each argument of a prompt or template, with nothing typed and with what another's names begin with."""
    client = mine.modern
    asked = [
        (PromptReference(type="ref/prompt", name=prompt.name), argument.name)
        for prompt in (await client.list_prompts()).prompts
        for argument in prompt.arguments or ()
    ]
    for template in RESOURCES:
        names = template.replace("{?", "{").split("{")[1:]
        reference = ResourceTemplateReference(type="ref/resource", uri=template)
        asked += [(reference, name.partition("}")[0]) for name in names]
    assert {name for _, name in asked} >= COMPLETED
    for reference, name in asked:
        for typed in ("", "scribe_", *(other.mark for other in others)):
            text, refused = await said(client.complete(reference, {"name": name, "value": typed}))
            assert not refused, (reference, name, text)
            check(mine, f"{reference} {name}", text, *(one for other in others for one in other.ids))
            if name in {"agent", "to"} and typed == "scribe_":
                assert mine.agent in text


async def ask_of_tasks(mine: Mine, others: list[Mine]) -> None:
    """Runs as tasks: one's own stands there, another's does not."""
    session = mine.tasks.session
    text, refused = await said(stand(session, mine.kept["run"]))
    assert not refused, text
    assert mine.mark in text
    for other in others:
        for run in (other.kept["run"], other.kept["asking"]):
            for asked in (stand(session, run), cancel(session, run), answer(session, run, q={"action": "decline"})):
                text, refused = await said(asked)
                assert refused, text
                assert "there is no task" in text
                check(mine, "tasks", text, other.secret)


@dataclass
class Ear:
    """What one caller is told of changes, and when it was all of its own."""

    mine: Mine
    heard: set[str] = field(default_factory=set[str])
    ready: anyio.Event = field(default_factory=anyio.Event)
    full: anyio.Event = field(default_factory=anyio.Event)

    @property
    def own(self) -> set[str]:
        return set(changing(self.mine))


def changing(mine: Mine) -> list[str]:
    """The addresses of what changes at the end."""
    return [f"atlas://runs/{mine.kept['asking']}", f"atlas://agents/{mine.agent}/memory/{BLOCK}"]


async def listen(ear: Ear, everybody: list[Mine]) -> None:
    """Ask to hear of everybody's runs and memory, and note what one is told."""
    addresses = [address for one in everybody for address in changing(one)]
    async with ear.mine.modern.listen(resource_subscriptions=addresses) as stream:
        ear.ready.set()
        async for event in stream:
            assert isinstance(event, ResourceUpdated)
            ear.heard.add(str(event.uri))
            if ear.heard >= ear.own:
                ear.full.set()


async def nothing_was_done_by_others(mine: Mine) -> None:
    """Everything of one's own is as one left it; then what is still open is ended, for those who listen."""
    client, kept = mine.modern, mine.kept
    asking = await call(client, "get_run", run_id=kept["asking"], wait_seconds=0)
    assert asking["status"] == "awaiting_answer"
    [block] = (await call(client, "get_agent_memory", agent=mine.agent, label=BLOCK))["blocks"]
    assert block["value"] == f"The person is {mine.mark} ({mine.secret})."
    [memory] = (await call(client, "list_memories", id=kept["memory"]))["memories"]
    assert memory["text"] == f"{mine.secret} drinks tea at six."
    assert "of a stranger" not in str(memory)
    found = await call(client, "search_memory", query=f"tea of {mine.mark} Assam", kinds=["knowledge"])
    assert f"Tea of {mine.mark} ({mine.secret}) grows in Assam." in str(found)
    about = await call(client, "recall_facts", about=f"Tea {mine.mark}")
    assert kept["fact"] in str(about)
    await call(client, "update_agent_memory", agent=mine.agent, label=BLOCK, value=f"At last: {mine.mark}.")
    await call(client, "cancel_run", run_id=kept["asking"])
    assert (await until_ended(client, {"run_id": kept["asking"], "status": "", "events": []}))["status"] == "cancelled"


def check(mine: Mine, where: str, text: str, *strange: str) -> None:
    """Nothing of that stands in the answer."""
    for one in strange:
        assert one not in text, f"{mine.name} hears of {one} from {where}: {text[:2000]}"
