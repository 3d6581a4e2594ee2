"""Citations of texts from outside in a team task: looked up in what this run was given, also after its process died."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.model.result import Evidence, Result
from atlas_mcp.model.task import TeamTask
from atlas_mcp.model.work import Draft, DraftSection, Findings
from atlas_mcp.reach.sources import Source
from atlas_mcp.teamwork.answers import schema
from atlas_mcp.teamwork.checks import find_quote, verify
from atlas_mcp.teamwork.inspection import failed, inspect
from tests.teamwork.scripted_agents import QUOTE, ScriptedAgents, do, draft, rate_all

pytestmark = pytest.mark.anyio
PAGE = "https://example.org/weather"
THEN = datetime(2026, 5, 1, 12, tzinfo=UTC)
RAIN = Source(name=PAGE, title="Weather", at=THEN, text="It rained on every day of May. It was “wet”.")
SNOW = Source(name=PAGE, title="Weather, mended", at=THEN.replace(hour=13), text="It snowed in June.")


def says(*evidence: dict[str, str]) -> dict[str, Any]:
    return {"text": "It rained.", "evidence": [{"claim": "it rained", **one} for one in evidence]}


def test_a_page_is_cited_by_any_spelling_of_its_address_and_words_by_any_of_their_marks() -> None:
    given = [Evidence(claim="c", source="https://EXAMPLE.org/weather/#may", quote='It was "WET"')]
    kept, refused = verify("reader", given, [RAIN])
    assert (kept[0].source, kept[0].quote, refused) == (PAGE, "It was “wet”", [])


def test_agents_are_not_shown_what_atlas_says_of_their_evidence() -> None:
    assert "verified" not in schema(Findings)
    assert find_quote("rained", RAIN.text)


def test_results_of_earlier_versions_are_read() -> None:
    old = {"output": "o", "evidence": [{"claim": "c", "source": "s", "quote": "q"}]}
    result = Result.model_validate(old)
    assert (result.evidence[0].verified, result.files) == (None, [])
    assert Result(output="o", evidence=[Evidence(claim="c", source="s")]).evidence[0].claim == "c"  # type: ignore[list-item]


async def test_what_was_fetched_stands_in_the_result_with_when_and_what_was_not_is_kept_apart(
    tmp_path: Path,
) -> None:
    agents = ScriptedAgents()
    agents.sources.given = [RAIN, SNOW]
    agents.on(
        "reader",
        "Findings",
        says(
            {"source": PAGE, "quote": "It snowed in June."},
            {"source": "log.txt", "quote": QUOTE},
            {"source": PAGE, "quote": "It hailed."},
            {"source": "https://example.org/other", "quote": "It snowed in June."},
        ),
    )
    agents.on("research_lead", "Findings", {"text": "merged"})
    result, _ = await do(agents, tmp_path)
    found = {(one.source, one.quote): one.verified for one in result.evidence}
    page, material = found[PAGE, "It snowed in June."], found["log.txt", QUOTE]
    assert page is not None
    assert (page.kind, page.title, page.fetched_at) == ("source", "Weather, mended", SNOW.at)
    assert material is not None
    assert (material.kind, material.fetched_at) == ("material", None)
    reasons = [one.why for one in result.missing if one.agent == "reader"]
    assert f"the quote is not in {PAGE!r}: 'It hailed.'" in reasons
    assert any("'https://example.org/other' is no material" in why for why in reasons)


async def test_what_was_forgotten_meanwhile_no_longer_counts_as_found(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.sources.given = [RAIN]
    agents.on("*", "Findings", says({"source": PAGE, "quote": "rained on"}))

    def forget(agent: str, prompt: str) -> Any:
        agents.sources.given = []
        return rate_all(4.5)(agent, prompt)

    agents.on("*", "Verdict", forget)
    result, _ = await do(agents, tmp_path)
    assert result.evidence == []
    assert any(m.agent == "atlas" and "no agent of this run was given it" in m.why for m in result.missing)


async def test_an_address_in_the_text_that_nobody_fetched_fails_its_check(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.sources.given = [RAIN]
    agents.on("*", "Draft", draft(("s1", f"It rained, says {PAGE}/. “It rained on every day of May.”")))
    result, _ = await do(agents, tmp_path)
    assert not failed(result.checks)
    agents = ScriptedAgents()
    agents.on("*", "Draft", draft(("s1", f"It rained, says {PAGE}.")))
    result, _ = await do(agents, tmp_path)
    [fault] = [c for c in failed(result.checks) if c.name == "sources"]
    assert PAGE in fault.text


async def test_a_quotation_of_a_page_is_looked_up_in_the_page() -> None:
    made = Draft(sections=(DraftSection(id="s1", text=f"“It rained on every day of May” [{PAGE}]."),))
    task = TeamTask(goal="How was the weather?")
    reports = {"research": Findings(text="nothing of it").model_dump_json()}
    assert {c.name for c in failed(await inspect(task, made, reports))} == {"sources", "quotations"}
    assert not failed(await inspect(task, made, reports, [RAIN]))
