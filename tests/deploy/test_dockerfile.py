"""The Dockerfile: small, without root, with nothing in it that was not meant to be."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

from tests.deploy.files import DEPLOY, ROOT, dockerfile, only

STAGES = dockerfile()
BUILD, LAST = STAGES
ALL = [instruction for stage in STAGES for instruction in stage]


def test_it_is_built_in_one_stage_and_runs_in_another_on_the_same_base() -> None:
    assert only(BUILD, "FROM").text.split()[1:] == ["AS", "build"]
    bases = {only(stage, "FROM").text.split()[0] for stage in STAGES}
    assert len(bases) == 1, "an environment moves between equal Pythons only"
    assert all(re.fullmatch(r"[\w/.-]+:\d+\.\d+[\w.-]*", base) for base in bases)
    assert [i.flags for i in LAST if i.name == "COPY"] == [("--from=build",)], "only what was built is taken over"


def test_it_runs_as_a_numbered_user_who_is_not_root() -> None:
    user = only(LAST, "USER").text
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    made = next(i.text for i in LAST if i.name == "RUN")
    assert f"--uid {user.split(':')[0]}" in made
    assert LAST.index(only(LAST, "USER")) > max(n for n, i in enumerate(LAST) if i.name in {"RUN", "COPY"})


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_what_it_starts_is_started_without_a_shell(name: str) -> None:
    assert only(LAST, name).text.startswith("[")


def test_no_secret_is_built_in_and_nothing_is_fetched_by_hand() -> None:
    for instruction in ALL:
        if instruction.name in {"ARG", "ENV"}:
            assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", instruction.text), instruction
        assert instruction.name != "ADD"
        assert not re.search(r"\b(curl|wget|sudo|apt-get|latest)\b", instruction.text), instruction


def test_everything_that_is_copied_is_there_and_passes_the_ignore_file() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "nothing goes in that is not named"
    let_in = {line[1:] for line in patterns if line.startswith("!")}
    copied = {source for i in BUILD if i.name == "COPY" for source in i.words[:-1]}
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    for private in (".env", "deploy/.env", ".git", "tests"):
        assert not any(fnmatch(private, pattern) for pattern in let_in)


def test_versions_come_from_the_lock_and_bytecode_is_compiled() -> None:
    runs = [i.text for i in BUILD if i.name == "RUN"]
    assert any("--constraint requirements.lock" in run for run in runs)
    assert any("-m compileall" in run and "unchecked-hash" in run for run in runs)
