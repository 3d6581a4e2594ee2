"""The roster: the default one, one's own, and what is said about a broken one."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.constellation.prompt import system_prompt
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import BrokenRoster, UnknownAgent
from atlas_mcp.models.catalog import parse_name

if TYPE_CHECKING:
    from pathlib import Path

TEAMS = {
    "research": (
        "research_supervisor",
        ["web_researcher", "document_researcher", "academic_researcher", "source_verifier"],
    ),
    "analysis": ("analysis_supervisor", ["data_scientist", "strategist", "financial_analyst"]),
    "writing": ("writing_supervisor", ["content_writer", "structure_editor", "quality_reviewer"]),
    "rating": ("rating_supervisor", ["quality_rater", "verification_rater", "feedback_rater"]),
}

OWN = """
    name = "small"

    [[blocks]]
    label = "persona"
    description = "who I am"
    limit = 300

    [agents.chief]
    role = "global_supervisor"
    description = "leads"
    persona = "I lead."

    [agents.keeper]
    role = "librarian"
    description = "keeps"
    persona_file = "keeper.md"

    [agents.head]
    description = "leads the desk"
    persona = "I head the desk."

    [agents.hand]
    description = "works"
    persona = "I work."
    pools = ["materials"]

    [teams.desk]
    purpose = "does it"
    supervisor = "head"
    workers = ["hand"]
"""


def written(folder: Path, text: str) -> Path:
    (folder / "keeper.md").write_text("I keep.\n")
    path = folder / "roster.toml"
    path.write_text(dedent(text))
    return path


def changed(folder: Path, old: str, new: str) -> Path:
    text = dedent(OWN)
    assert text.count(old) == 1, old
    path = written(folder, OWN)
    path.write_text(text.replace(old, new))
    return path


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def broken(path: Path) -> BrokenRoster:
    with pytest.raises(BrokenRoster) as caught:
        load_roster(path)
    assert str(path) in str(caught.value)
    return caught.value


def test_the_default_roster_is_that_of_the_design() -> None:
    roster = load_roster()
    assert {t.name: (t.supervisor, list(t.workers)) for t in roster.teams} == TEAMS
    alone = {a.name: a.role for a in roster.agents if a.team is None}
    assert alone == {"global_supervisor": "global_supervisor", "librarian": "librarian"}
    assert {t.name: t.kind for t in roster.teams if t.kind != "work"} == {"writing": "writing", "rating": "rating"}
    limits = {b.label: (b.limit, b.shared) for b in roster.blocks}
    assert limits == {
        "persona": (2000, False),
        "human": (2000, False),
        "current_state": (200, True),
        "active_context": (400, True),
        "team_notes": (2000, True),
    }
    assert [a.name for a in roster.agents if a.needs == ("search_web",)] == ["web_researcher", "academic_researcher"]


def test_every_persona_of_the_default_roster_is_rich_and_its_own() -> None:
    agents = load_roster().agents
    assert len({a.persona for a in agents}) == len(agents)
    for agent in agents:
        assert 80 <= len(agent.persona.split()) <= 200, agent.name
        assert len(agent.persona) <= 2000


def test_raters_and_authors_use_different_tiers() -> None:
    roster = load_roster()
    tiers = {a.name: roster.tier(a) for a in roster.agents}
    assert tiers["quality_rater"] == tiers["rating_supervisor"] == "rater"
    assert tiers["writing_supervisor"] == "supervisor"
    assert tiers["content_writer"] == "worker"


def test_a_system_prompt_says_who_and_where_the_agent_is_and_offers_no_tool_for_sending() -> None:
    roster = load_roster()
    prompt = system_prompt(roster.agent("data_scientist"), roster)
    assert prompt.startswith("You are data_scientist: Looks at figures")
    assert "analysis team" in prompt
    assert "send_message" not in prompt
    assert "{" not in prompt
    for agent in roster.agents:
        assert len(system_prompt(agent, roster)) < 3_000


def test_a_roster_of_ones_own_needs_no_default(tmp_path: Path) -> None:
    roster = load_roster(written(tmp_path, OWN))
    assert [(a.name, a.role, a.team) for a in roster.agents] == [
        ("chief", "global_supervisor", None),
        ("keeper", "librarian", None),
        ("head", "supervisor", "desk"),
        ("hand", "worker", "desk"),
    ]
    assert roster.agent("keeper").persona == "I keep."


def test_a_roster_may_extend_the_default_rename_remove_change_and_add(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        dedent("""
        extends = "default"

        [remove]
        agents = ["financial_analyst"]
        teams = ["research"]

        [rename.agents]
        strategist = "planner"

        [rename.teams]
        analysis = "thinking"

        [agents.planner]
        description = "Plans ahead."

        [agents.tutor]
        role = "worker"
        description = "Explains things to me."
        persona = "I explain."

        [agents.law_head]
        description = "leads"
        persona = "I lead the lawyers."

        [agents.lawyer]
        description = "reads statutes"
        persona = "I read statutes."

        [teams.law]
        purpose = "knows the law"
        supervisor = "law_head"
        workers = ["lawyer"]

        [[blocks]]
        label = "team_notes"
        limit = 500
        """)
    )
    roster = load_roster(path)
    assert roster.name == "mine"
    assert [t.name for t in roster.teams] == ["thinking", "writing", "rating", "law"]
    assert roster.team("thinking").workers == ("data_scientist", "planner")
    assert roster.agent("planner").description == "Plans ahead."
    assert roster.agent("planner").persona.startswith("I think about positions")
    assert roster.agent("tutor").team is None
    assert next(b for b in roster.blocks if b.label == "team_notes").limit == 500
    with pytest.raises(UnknownAgent, match="web_researcher"):
        roster.agent("web_researcher")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in str(broken(tmp_path / "none.toml"))


def test_a_syntax_error_gives_its_line(tmp_path: Path) -> None:
    path = changed(tmp_path, 'description = "works"', "description = works")
    assert broken(path).line == line_of(path, "description = works")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('pools = ["materials"]', 'colour = "red"', "unknown key 'colour'"),
        ('pools = ["materials"]', 'pools = ["materiels"]', "no tool pool 'materiels' (did you mean 'materials'?)"),
        ('pools = ["materials"]', 'level = "urgent"', "agents.hand.level"),
        ('workers = ["hand"]', 'workers = ["hamd"]', "'hamd' of team 'desk' is no agent (did you mean"),
        ('workers = ["hand"]', "workers = []", "team 'desk' has no workers"),
        ('workers = ["hand"]', 'workers = ["hand", "hand"]', "2 places"),
        ('supervisor = "head"', 'supervisor = "boss"', "supervisor 'boss' of team 'desk' is no agent"),
        ('persona_file = "keeper.md"', 'persona_file = "gone.md"', "'gone.md' cannot be read"),
        ('persona = "I work."', f'persona = "{"x" * 301}"', "301 characters, and its block holds 300"),
        ('persona = "I work."', 'persona = ""', "empty persona"),
        ('role = "librarian"', 'role = "global_supervisor" ', "chief and keeper all have the role global_supervisor"),
        ('role = "librarian"', 'role = "boss"', "agents.keeper.role"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = changed(tmp_path, old, new)
    error = broken(path)
    assert says in str(error)
    assert error.line == line_of(path, new)


def test_a_model_that_cannot_be_is_named_with_its_agent_and_line(tmp_path: Path) -> None:
    text = dedent("""\
        extends = "default"
        [agents.strategist]
        model = "anthropc:claude-sonnet-4-5"
        """)
    path = written(tmp_path, text)
    assert load_roster(path).agent("strategist").model == "anthropc:claude-sonnet-4-5"
    with pytest.raises(BrokenRoster) as caught:
        load_roster(path, read_model=parse_name)
    assert caught.value.line == 3
    said = str(caught.value)
    assert f"{path}, line 3: the model of 'strategist': no model provider is called 'anthropc'. Did you mean" in said


def test_an_agent_declared_twice_gives_the_second_line(tmp_path: Path) -> None:
    path = changed(tmp_path, "[teams.desk]", "[agents.hand]\n\n[teams.desk]")
    error = broken(path)
    assert error.line in {line_of(path, "[teams.desk]") - 2, line_of(path, "[teams.desk]") - 1}


def test_a_worker_of_two_teams_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    more = '\n[agents.second]\ndescription = "x"\npersona = "x"\n'
    more += '\n[teams.other]\npurpose = "too"\nsupervisor = "second"\nworkers = ["hand"]\n'
    path.write_text(path.read_text() + more)
    error = broken(path)
    assert "'hand' has 2 places in teams (desk, other)" in str(error)
    assert error.line == line_of(path, "[teams.other]") + 3


def test_a_team_without_a_supervisor_is_refused_with_its_line(tmp_path: Path) -> None:
    path = changed(tmp_path, 'supervisor = "head"\n', "")
    error = broken(path)
    assert "team 'desk' has no supervisor" in str(error)
    assert error.line == line_of(path, "[teams.desk]")


def test_a_block_written_twice_is_refused_at_the_second(tmp_path: Path) -> None:
    second = '[[blocks]]\nlabel = "persona"\nlimit = 5\n\n[agents.chief]'
    path = changed(tmp_path, "[agents.chief]", second)
    error = broken(path)
    assert "two blocks 'persona'" in str(error)
    assert error.line == line_of(path, "[agents.chief]") - 4


def test_an_agent_without_a_team_must_say_what_it_is(tmp_path: Path) -> None:
    path = changed(tmp_path, "[teams.desk]", '[agents.idler]\ndescription = "x"\npersona = "x"\n\n[teams.desk]')
    error = broken(path)
    assert "belongs to no team" in str(error)
    assert error.line == line_of(path, "[agents.idler]")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[remove]\nagents = ["nobody"]', "no agent 'nobody' to remove"),
        ('[rename.agents]\nnobody = "somebody"', "no agent 'nobody' to rename"),
        ('[rename.agents]\nlibrarian = "strategist"', "the name 'strategist' is taken"),
        ('[remove]\nagents = ["librarian"]', "no agent has the role librarian"),
        ('[agents.newcomer]\ndescription = "x"\nrole = "worker"', "'newcomer' has no persona"),
    ],
)
def test_a_mistake_in_an_extension_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "default"\n\n{text}\n')
    assert says in str(broken(path))


NESTED = (
    OWN
    + """
    teams = ["checks"]

    [agents.examiner]
    description = "leads the checks"
    persona = "I lead the checks."

    [agents.tester]
    description = "tests"
    persona = "I test."

    [teams.checks]
    purpose = "checks it"
    supervisor = "examiner"
    workers = ["tester"]
"""
)


def test_a_team_may_have_teams_of_its_own(tmp_path: Path) -> None:
    roster = load_roster(written(tmp_path, NESTED))
    assert roster.team("desk").teams == ("checks",)
    assert [t.name for t in roster.within("desk")] == ["desk", "checks"]
    above = roster.above("checks")
    assert above is not None
    assert (above.name, roster.above("desk"), roster.levels) == ("desk", None, 2)
    assert load_roster().levels == 1
    assert "Teams of its own: checks." in system_prompt(roster.agent("head"), roster)


@pytest.mark.parametrize(
    ("old", "new", "says", "at"),
    [
        ('teams = ["checks"]', 'teams = ["cheks"]', "there is no team 'cheks' (did you mean 'checks'?)", "cheks"),
        ('workers = ["tester"]', 'workers = ["tester"]\n    teams = ["desk"]', "belongs to itself", '["checks"]'),
        ('teams = ["checks"]', 'teams = ["desk"]', "belongs to itself", '["desk"]'),
        ('purpose = "checks it"', 'purpose = "checks it"\n    kind = "rating"', "is a rating team", '["checks"]'),
    ],
)
def test_teams_that_stand_in_each_other_wrongly_are_refused_with_the_line(
    tmp_path: Path, old: str, new: str, says: str, at: str
) -> None:
    assert NESTED.count(old) == 1
    path = written(tmp_path, NESTED.replace(old, new))
    failure = broken(path)
    assert says in str(failure)
    assert failure.line == line_of(path, at)


def test_a_team_belongs_to_one_other_and_stands_three_deep_at_most(tmp_path: Path) -> None:
    def team(name: str, inner: str) -> str:
        agents = "".join(f'[agents.{who}_{name}]\ndescription = "d"\npersona = "I am."\n' for who in ("lead", "work"))
        more = f"teams = [{inner}]\n" if inner else ""
        return f'{agents}[teams.{name}]\npurpose = "p"\nsupervisor = "lead_{name}"\nworkers = ["work_{name}"]\n{more}'

    own = dedent(OWN)
    twice = written(tmp_path, own + team("a", '"c"') + team("b", '"c"') + team("c", ""))
    assert "team 'c' belongs to 2 teams (a, b)" in str(broken(twice))
    chain = team("a", '"b"') + team("b", '"c"') + team("c", '"d"') + team("d", "")
    assert "more than 3 deep: a > b > c > d" in str(broken(written(tmp_path, own + chain)))
    load_roster(written(tmp_path, own + team("b", '"c"') + team("c", '"d"') + team("d", "")))


def test_renaming_and_removing_teams_reaches_those_that_have_them(tmp_path: Path) -> None:
    text = """
        extends = "default"

        [rename.teams]
        analysis = "thinking"

        [teams.research]
        teams = ["thinking"]
    """
    roster = load_roster(written(tmp_path, text))
    assert roster.team("research").teams == ("thinking",)
    assert load_roster(written(tmp_path, 'extends = "default"\n[remove]\nteams = ["analysis"]\n')).levels == 1
