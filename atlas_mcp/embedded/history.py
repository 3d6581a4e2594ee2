"""Between kept entries and LangChain's messages."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from atlas_mcp.embedded.entries import Entry


def messages_of(entries: list[Entry], made: dict[str, AnyMessage] | None = None) -> list[AnyMessage]:
    """The entries as a model gets them. Empty answers are left out: some providers refuse them.

    `made` holds those that were made before, by their entries' ids; new ones are added to it.
    """
    known = {} if made is None else made
    spoken = [entry for entry in entries if entry.kind != "assistant" or entry.content or entry.calls]
    for entry in spoken:
        if entry.id not in known:
            known[entry.id] = _message(entry)
    return [known[entry.id] for entry in spoken]


def _message(entry: Entry) -> AnyMessage:
    if entry.kind == "user":
        return HumanMessage(entry.content, name=entry.body.get("name"))
    if entry.kind == "system":
        # not as a system message: several providers allow only one, at the beginning
        return HumanMessage(f"<system_note>\n{entry.content}\n</system_note>")
    if entry.kind == "tool":
        body = entry.body
        return ToolMessage(entry.content, tool_call_id=body["call_id"], name=body["name"], status=body["status"])
    calls = [
        {"id": call["id"], "name": call["name"], "args": call["args"], "type": "tool_call"} for call in entry.calls
    ]
    return AIMessage(entry.body.get("raw") or entry.content, tool_calls=calls)


def text_of(message: AIMessage) -> str:
    """All text of an answer, without its reasoning."""
    return str(message.text)


def reasoning_of(message: AIMessage) -> str:
    """The reasoning that a model shows, where it shows any."""
    content: Any = message.content
    if isinstance(content, str):
        return str(message.additional_kwargs.get("reasoning_content") or "")
    parts = cast("list[dict[str, Any]]", [part for part in content if isinstance(part, dict)])
    return "".join(str(part.get("thinking") or part.get("reasoning") or "") for part in parts)


def raw_of(message: AIMessage) -> list[Any] | None:
    """An answer's content in its provider's parts, to be given back as it was; None for plain text."""
    content: Any = message.content
    return None if isinstance(content, str) else cast("list[Any]", content)
