"""What a model is told about the server as a whole: in a few lines, when to use which of the tools that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_WHAT = """\
ATLAS gives you a constellation of persistent agents: a global supervisor, a librarian, and teams for research, \
analysis, writing and rating. They remember across conversations, and see only what you pass and what they remember."""

_WHEN: tuple[tuple[tuple[str, ...], str], ...] = (
    (("list_agents", "chat_with_agent"), "One question for one agent: list_agents, then chat_with_agent."),
    (
        ("list_agents", "chat_with_group"),
        "Several views on one thing: chat_with_group, with a group that list_agents gives.",
    ),
    (
        ("run_team_task", "get_run"),
        "Work that needs several of them: run_team_task with the goal and the texts to work from. It returns the "
        "result or a run_id; follow it with get_run until its status is completed, failed or cancelled. The work goes "
        "on meanwhile.",
    ),
    (("answer_run",), "A run that asks something waits: put its question to the person, then answer_run."),
    (
        ("get_agent_memory", "update_agent_memory"),
        "What an agent knows: get_agent_memory; correct it with update_agent_memory.",
    ),
    (("search_memory",), "What all of them remember of something: search_memory."),
    (("share_knowledge",), "A text that all agents should know: share_knowledge."),
    (("remember",), "One thing to keep in mind from now on: remember."),
    (("recall_facts",), "How things are related to each other: recall_facts."),
    (("forget",), "What is to be gone for good: forget, which first says what that would be."),
    (("rate_text",), "A judgement of a text: rate_text."),
    (("give_feedback",), "What the person thinks of a run or reply: give_feedback."),
    (("get_status",), "Something does not work: get_status says what and what to do."),
)


def instructions(tools: Collection[str]) -> str:
    """What is to be told of these tools; of no other is spoken."""
    lines = [f"- {text}" for needs, text in _WHEN if {*needs} <= {*tools}]
    return "\n".join([_WHAT, *lines])
