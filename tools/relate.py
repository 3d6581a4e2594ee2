"""A fact for the knowledge graph: executed by ATLAS, with the caller's knowledge."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.library import Desk

KIND = "knowledge"
POOLS = ("facts",)
MARKS = ("keep",)


async def relate(
    knowledge: Desk,
    subject: str,
    relation: str,
    object: str = "",
    value: str = "",
    source: str = "",
    true_from: str = "",
    true_until: str = "",
    functional: bool = False,
    whom: str = "all",
) -> str:
    """Tell a lasting fact about the world, so that all agents can recall it: how one thing is related to another.

    Tell what a source says, not what you guess. What is known already only gains your source.

    Args:
        subject (str): The thing it is about, by its full name.
        relation (str): How they are related, such as works_for, part_of or has_price.
        object (str): The other thing, by its full name. Leave it out and give value for a date, a number or words.
        value (str): What the subject has, if it is no thing of its own.
        source (str): Where it is from: a document, a material, an address.
        true_from (str): Since when it is true, such as 2024-05-01, if that is known.
        true_until (str): When it ceased to be true, if it did.
        functional (bool): True if the subject has only one at a time: another one then ends what was true before.
        whom (str): Whom it is for: all, me or team.

    Returns:
        str: What became of it, with its id, and what it superseded or contradicts.
    """
    given = {"object": object, "value": value, "true_from": true_from, "true_until": true_until}
    told = await knowledge.facts.relate(
        whom,
        subject=subject,
        relation=relation,
        sources=[source] if source else [],
        functional=functional or None,
        **{name: one for name, one in given.items() if one},
    )
    says = {
        "new": "Kept",
        "known": "Known already",
        "changed": "Changed when it is true",
        "disputed": "Kept beside what contradicts it and is more trusted",
    }
    more = [f" It supersedes {', '.join(told.superseded)}."] if told.superseded else []
    more += [f" It contradicts {', '.join(told.contradicts)}."] if told.contradicts else []
    return f"{says[told.outcome]}: {told.fact.text} ({told.fact.id}).{''.join(more)}"
