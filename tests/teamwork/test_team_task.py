"""A team task from goal to result, with scripted agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.teamwork.scripted_agents import QUOTE, ScriptedAgents, do

pytestmark = pytest.mark.anyio


async def test_a_task_comes_to_a_text_with_evidence_and_ratings(tmp_path: Path) -> None:
    result, run = await do(ScriptedAgents(), tmp_path)
    assert result.passed
    assert "The lamp was lit." in result.output
    assert [(e.source, e.quote) for e in result.evidence] == [("log.txt", QUOTE)]
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}
    assert run.result == result
