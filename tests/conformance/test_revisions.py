"""The official conformance suite passes against the server as it is started, in each revision of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.suite import Outcome, needs_suite, run_suite, served
from tests.server.doors import LEGACY, MODERN

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
UNSCORED = {"server-sse-polling"}
"""Which the suite's own reference does not pass either: streams that the server closes, for clients to come back to."""

pytestmark = [needs_suite, pytest.mark.timeout(1_000)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("conformance") / "home") as address:
        yield address


@pytest.fixture(scope="module")
def modern(url: str, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_suite(url, MODERN, tmp_path_factory.mktemp("modern"))


@pytest.mark.parametrize("scenario", TASKS)
def test_the_official_scenario_for_tasks_passes(modern: Outcome, scenario: str) -> None:
    assert not modern.scenarios[scenario].failed, modern.printed
    assert modern.scenarios[scenario].passed


def test_every_scenario_of_2026_07_28_passes(modern: Outcome) -> None:
    assert modern.code == 0, modern.printed
    assert {name: one.failed for name, one in modern.scenarios.items() if one.failed} == {}
    assert len(modern.scenarios) >= 50


def test_every_scenario_of_2025_11_25_passes(url: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    older = run_suite(url, LEGACY, tmp_path_factory.mktemp("older"))
    assert older.code == 0, older.printed
    assert {name for name, one in older.scenarios.items() if one.failed} <= UNSCORED, older.printed
    assert len(older.scenarios) >= 30
