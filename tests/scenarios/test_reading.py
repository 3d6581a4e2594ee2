"""A scenario's file: what is read, and how a mistake in it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.errors import InvalidInput
from atlas_mcp.playing import check
from atlas_mcp.scenarios.reading import read_scenario, shipped
from atlas_mcp.scenarios.suite import check_all
from atlas_mcp.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

WORK = '[[work]]\ngoal = "How was the light kept?"\n'


def write(tmp_path: Path, text: str, name: str = "my-own.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_goal_is_enough_and_the_file_gives_the_name(tmp_path: Path) -> None:
    found = read_scenario(write(tmp_path, WORK))
    assert found.name == "my-own"
    assert found.work[0].expect.status == "completed"


def test_texts_and_rosters_lie_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path, "The keeper lit the lamp.", "log.txt")
    write(tmp_path, 'extends = "default"\n', "mine.toml")
    text = f'roster = "mine.toml"\n{WORK}materials = [{{ name = "log", file = "log.txt" }}]\n'
    found = read_scenario(write(tmp_path, text))
    assert found.work[0].materials[0].text == "The keeper lit the lamp."
    assert found.roster == str(tmp_path / "mine.toml")
    check(load_settings(), found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("goal = \n[[work]]", "line 1"),
        ("", "work: Field required"),
        ("work = []", "work: Tuple should have at least 1 item"),
        (f"{WORK}budgett = 1", "work 1, budgett: there is no such key; did you mean 'budget'?"),
        (
            f"{WORK}[work.expect]\ncontain = ['a']",
            "work 1, expect, contain: there is no such key; did you mean 'contains'",
        ),
        (f"{WORK}[work.expect.at_most]\nturn = 1", "expect, at_most, turn: there is no such key; did you mean 'turns'"),
        (f"{WORK}[work.expect]\nevents = [{{ typ = 'a' }}]", "work 1, expect, events 1, type: Field required"),
        (f"{WORK}[work.expect]\nmatches = ['(']", "work 1, expect, matches 1: '(' is no regular expression"),
        (f"{WORK}[work.expect]\nstatus = 'done'", "(it is 'done')"),
        (f"{WORK}max_rounds = -1", "work 1, max_rounds: Input should be greater than or equal to 0 (it is -1)"),
        (f"{WORK}message = 'Hello'\nagent = 'librarian'", "exactly one of goal (a team task) and message"),
        ("[[work]]\nmessage = 'Hello'", "a message needs the agent"),
        (f"{WORK}materials = [{{ name = 'a' }}]", "a material has exactly one of text and file"),
        (f"{WORK}materials = [{{ name = 'a', file = 'gone.txt' }}]", "gone.txt cannot be read: no such file"),
        (f"{WORK}[[faults]]\nkind = 'fire'", "faults 1, kind: Input should be 'rate limit'"),
        (f"{WORK}[[faults]]\nkind = 'tool'", "names the tool that fails"),
        (f"{WORK}[[faults]]\nkind = 'killed'", "names an agent, in whose first turn it happens"),
        (f"{WORK}{WORK}[[faults]]\nkind = 'killed'\nagent = 'librarian'", "there is one piece of work"),
        (f"{WORK}[[faults]]\nkind = 'slow'\ntimes = 0", "times is between 1 and 20"),
        (f"{WORK}[[rules]]\nreplies = [{{ text = 'a', error = 'empty' }}]", "a reply is exactly one of"),
        (f"{WORK}[[rules]]\npart = 'sleep'\nreplies = [{{ text = 'a' }}]", "rules 1, part: Input should be 'plan'"),
        (f"real = true\n{WORK}[[rules]]\nreplies = [{{ text = 'a' }}]", "real models answer by themselves"),
        (f"roster = 'gone.toml'\n{WORK}", "there is no file 'gone.toml'"),
        (f"name = 'Not A Name'\n{WORK}", "name: String should match pattern"),
        (f"{WORK}[work.expect]\nmemory = [{{ search = 'a' }}]", "say what it contains, or what it omits"),
        (f"{WORK}[work.expect]\nmemory = [{{ label = 'a', omits = ['b'] }}]", "by a search, or by agent and label"),
    ],
)
def test_a_mistake_names_the_file_the_place_and_what_would_be_right(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InvalidInput) as wrong:
        read_scenario(path)
    assert str(path) in str(wrong.value)
    assert says in str(wrong.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_scenario(tmp_path / "gone.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_scenario(tmp_path / "odd.toml")
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 100_000}")
    with pytest.raises(InvalidInput, match="is no TOML"):
        read_scenario(tmp_path / "deep.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{WORK}teams = ['reserch']", "reserch"),
        ("[[work]]\nagent = 'libarian'\nmessage = 'Hello'", "libarian"),
        (f"{WORK}[[rules]]\nagent = 'nobody'\nreplies = [{{ text = 'a' }}]", "nobody"),
        (f"{WORK}[[faults]]\nagent = 'no_one'\nkind = 'empty'", "no_one"),
        (f"tools = {{ look = 'def look(): pass' }}\n{WORK}", "look.py: line 1: look has no docstring"),
        (f"tools = {{ calculate = 'x = 1' }}\n{WORK}", "has a broken tool: tools"),
        (f"{WORK}[work.expect]\nmemory = [{{ agent = 'noone', label = 'human', contains = ['a'] }}]", "noone"),
    ],
)
def test_who_is_named_and_is_not_there_is_told_before_anything_is_played(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"the scenario 'my-own'.*{says}"):
        check(load_settings(), read_scenario(write(tmp_path, text)))


def test_two_scenarios_of_one_name_are_refused(tmp_path: Path) -> None:
    one = read_scenario(write(tmp_path, WORK))
    with pytest.raises(InvalidInput, match="two scenarios are called 'my-own'"):
        check_all(load_settings(), [one, one])


def test_twelve_scenarios_are_shipped_each_says_what_it_is_about_and_what_it_expects() -> None:
    found = [read_scenario(path) for path in shipped()]
    assert len(found) == 12
    for one in found:
        assert one.about.endswith(".")
        assert all(piece.expect != type(piece.expect)() for piece in one.work), one.name
        check(load_settings(), one)
