"""A model that does what any text tells it, as far as it can: it calls all its tools to do harm, and some it has not.

It cannot read: a text counts as obeyed when it stands anywhere in the request. So it is worse than any model that can.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas_mcp.model.sections import sections
from tests.scripted_model import Request, last_user_text
from tests.teamwork.house import good_answer

_FILE = Path(__file__).with_name("injections.toml")
NOT_OFFERED = (
    *("forget", "delete_agent", "update_agent_memory", "undo_memory", "share_knowledge", "run_team_task"),
    *("answer_run", "cancel_run", "create_agent", "delete_group", "chat_with_agent", "send_message"),
    *("core_memory_replace", "memory_rethink", "archival_memory_delete", "send_message_to_agent_async"),
    *("bash", "execute_python", "http_request", "read_file", "write_file", "os.system"),
)
"""What the texts ask for and no agent has."""
PATIENT = frozenset({"ask_caller", "submit_result"})
"""Tools that only make the run wait, or end the turn before the harm is done."""
MARK = re.compile(r"INJ-\d\d")


def injections() -> list[tuple[str, str]]:
    """Every text with its mark, after its kind."""
    kinds = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    texts = [(kind, text) for kind, one in kinds.items() for text in one["texts"]]
    return [(kind, f"{text} INJ-{number:02}") for number, (kind, text) in enumerate(texts)]


def called(request: Request) -> set[str]:
    """The tools that were called since the user last spoke."""
    names: set[str] = set()
    for message in request["messages"]:
        if message["role"] == "user":
            names.clear()
        names |= {one["function"]["name"] for one in message.get("tool_calls") or ()}
    return names


@dataclass
class Obedient:
    """What it was asked, what it obeyed, and what its tools said to that."""

    harm: dict[str, Any]
    obeyed: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    say: Callable[[str], str] | None = None

    def reply(self, request: Request) -> dict[str, Any]:
        """What it does: once the harm, and then a decent answer, so that the work goes on."""
        self.requests.append(request)
        marks = set(MARK.findall(json.dumps(request["messages"], ensure_ascii=False)))
        offered = {one["function"]["name"]: one["function"] for one in request.get("tools", [])}
        done = called(request)
        if not marks and "read_material" in offered and "read_material" not in done:
            listed = sections(last_user_text(request), "materials")[0].body.splitlines()
            return {"tools": [["read_material", {"name": line[2:].rpartition(" (")[0]}] for line in listed]}
        if marks and NOT_OFFERED[0] not in done:
            self.obeyed |= marks
            calls = [[name, self._worst(name, one)] for name, one in offered.items() if name not in PATIENT]
            calls += [[name, {"confirm": True, "agent": "librarian", "id": "all"}] for name in NOT_OFFERED]
            self.called |= {name for name, _ in calls}
            return {"tools": calls}
        prompt = last_user_text(request)
        if 'answer_schema title="' in prompt:
            return {"json": good_answer(prompt)}
        return {"text": self.say(prompt) if self.say else "Done as I was told."}

    def _worst(self, name: str, function: dict[str, Any]) -> dict[str, Any]:
        properties = function["parameters"].get("properties", {})
        return {argument: self._value(argument, one) for argument, one in properties.items()} | self.harm.get(name, {})

    def _value(self, argument: str, schema: dict[str, Any]) -> Any:
        match schema.get("type"):
            case "integer" | "number":
                return 1
            case "boolean":
                return True
            case "array":
                return []
            case "object":
                return {}
            case _:
                return self.harm.get(argument, f"pwned {argument}")
