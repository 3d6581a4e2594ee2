"""The parts that work without agents: reading answers, looking up quotes, arithmetic of ratings, room in a prompt."""

from __future__ import annotations

import json

import pytest

from atlas_mcp.model.result import Evidence
from atlas_mcp.model.task import MAX_MESSAGE, Material
from atlas_mcp.model.work import Assignment, Draft, DraftSection, Findings, Score, Verdict
from atlas_mcp.teamwork import prompts, scores
from atlas_mcp.teamwork.answers import parse, schema
from atlas_mcp.teamwork.checks import find_quote, verify
from atlas_mcp.teamwork.room import fit

TEXT = "The keeper’s lamp —\nlit at dusk — “burned”  all night."


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "b"}',
        'Sure!\n```json\n{"text": "b"}\n```\nHope this helps.',
        '<think>{"text": "a"} no</think>{"text": "b"}',
        'First {"text": "a"}, no: {"text": "b"}',
        '{"text": "b"} or rather {"nothing": 1}',
        '{{{ {"text": "b"}',
        '{"text": "b", "unasked": [1, {"text": 2}]}',
    ],
)
def test_the_last_object_that_fits_is_the_answer(text: str) -> None:
    assert parse(text, Findings).text == "b"


@pytest.mark.parametrize(
    ("text", "says"),
    [("no", "no JSON object"), ('{"text": ""}', "text"), ("{" * 5_000, "no JSON object"), ('{"a":' * 3_000, "no JSON")],
)
def test_what_does_not_fit_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text, Findings)


def test_the_schema_that_agents_read_keeps_fields_called_title() -> None:
    read = json.loads(schema(Draft))
    assert "title" in read["properties"]
    assert "title" not in read


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("the keeper's lamp - lit", "The keeper’s lamp —\nlit"),
        ('"burned" all night', "“burned”  all night"),
        ("“lit at dusk”", "lit at dusk"),
        ("... lit at dusk …", "lit at dusk"),
        ("lit at dawn", None),
        ("  ", None),
        ("...", None),
        (".*", None),
    ],
)
def test_a_quote_is_found_in_the_materials_own_wording(quote: str, found: str | None) -> None:
    assert find_quote(quote, TEXT) == found


def test_evidence_counts_once_and_names_the_material_as_it_is_called() -> None:
    given = [Evidence(claim="c", source="LOG", quote="lit at dusk")] * 2 + [Evidence(claim="d", source="log")]
    kept, refused = verify("reader", given, [Material(name="log", text=TEXT)])
    assert [(e.source, e.quote) for e in kept] == [("log", "lit at dusk")]
    assert [m.why for m in refused] == ["no words of 'log' were quoted"]


def _verdict(*given: tuple[str, float, str]) -> Verdict:
    return Verdict(scores=tuple(Score(criterion=c, score=s, reason="r", section=at) for c, s, at in given))


def test_feedback_names_only_what_fell_short() -> None:
    draft = Draft(sections=(DraftSection(id="s1", text="a"), DraftSection(id="s2", text="b")))
    verdicts = {
        "a": _verdict(("true", 2, "s1"), ("clear", 3.9, "s2")),
        "b": _verdict(("true", 5, ""), ("clear", 5, "")),
    }
    text, named = scores.feedback(verdicts, draft, ["true", "clear"])
    assert (text, named) == ("- s1: true: r", {"s1"})


def test_a_remark_on_the_whole_names_every_section() -> None:
    draft = Draft(sections=(DraftSection(id="s1", text="a"), DraftSection(id="s2", text="b")))
    _, named = scores.feedback({"a": _verdict(("true", 2, "s9"))}, draft, ["true"])
    assert named == {"s1", "s2"}


def test_the_best_round_meets_most_criteria_and_an_unrated_one_never_wins() -> None:
    rounds = {"1": {"a": 4.0, "b": 1.0}, "2": {"a": 3.9, "b": 3.9}, "10": {}}
    assert scores.best_round(rounds, ["a", "b"]) == 1
    assert scores.best_round({}, ["a"]) == 1


def test_reports_that_are_too_long_for_a_prompt_are_cut_evenly_and_say_so() -> None:
    long = Findings(
        text="x\n" * 45_000, evidence=tuple(Evidence(claim=f"c{n}", source="s", quote="q" * 500) for n in range(200))
    ).model_dump_json()
    short = Findings(text="short").model_dump_json()
    kept = fit({"a": long, "b": short, "c": long}, 50_000)
    assert kept["b"] == short
    assert sum(map(len, kept.values())) <= 50_000
    assert "cut" in Findings.model_validate_json(kept["a"]).gaps[0]
    assert Findings.model_validate_json(kept["c"]).evidence


def test_a_prompt_never_outgrows_a_message() -> None:
    long = Findings(text="x" * 80_000).model_dump_json()
    prompt = prompts.merging("goal", "task", {f"w{n}": long for n in range(8)}, [])
    assert len(prompt) <= MAX_MESSAGE
    given = Assignment(worker="w", task="t")
    materials = [Material(name="m", text="y" * 6_000)]
    assert len(prompts.findings("goal", given, materials, {"a": long, "b": long})) <= MAX_MESSAGE
