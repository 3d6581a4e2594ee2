"""What an agent does with a tool, in words for people who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.secrets import without_secrets

if TYPE_CHECKING:
    from atlas_mcp.letta.states import ToolCall

_LONGEST = 80

_PHRASES = {
    "memory_insert": "made a note in its block {label}",
    "memory_replace": "corrected its block {label}",
    "archival_memory_insert": "put something into its archive",
    "archival_memory_search": "searched its archive for “{query}”",
    "conversation_search": "searched earlier conversations for “{query}”",
    "search_materials": "searched the materials for “{query}”",
    "read_material": "read {name}",
    "quote_material": "looked up a quotation in {name}",
    "cite_source": "cited {source}",
    "calculate": "calculated {expression}",
    "compare_options": "compared options",
    "save_output": "saved {name}",
    "load_output": "took up {name} again",
    "submit_result": "handed in its result",
    "escalate": "asked for help: {reason}",
    "search_web": "searched the web for “{query}”",
    "fetch_page": "read {address}",
    "tavily_read_page": "read {address}",
    "firecrawl_read_page": "read {address}",
    "firecrawl_search_web": "searched the web for “{query}”",
    "github_search_code": "searched code on GitHub for “{query}”",
    "github_search_issues": "searched issues on GitHub for “{query}”",
    "github_read_issue": "read {repository}#{number} on GitHub",
    "github_read_file": "read {path} of {repository} on GitHub",
    "github_list_folder": "looked into {repository} on GitHub",
    "microsoft_search_mail": "searched the mail for “{query}”",
    "microsoft_read_mail": "read a message of the mail",
    "microsoft_list_events": "looked into the calendar",
    "microsoft_search_files": "searched OneDrive for “{query}”",
    "microsoft_read_file": "read a file of OneDrive",
}


def phrase(agent: str, call: ToolCall) -> str:
    """One line such as `document_researcher searched the materials for “tides”`."""
    words = _PHRASES.get(call.name, f"used {call.name}")
    given = {name: _brief(value) for name, value in call.arguments.items()}
    try:
        return f"{agent} {words.format_map(given)}"
    except (KeyError, ValueError, IndexError):  # the model left out an argument, or the tool calls it otherwise
        return f"{agent} used {call.name}"


def _brief(value: object) -> str:
    text = without_secrets(" ".join(str(value).split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
