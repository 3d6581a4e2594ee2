"""All official scenarios of the tasks extension pass against the server as it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.suite import needs_suite, run_scenario, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCENARIOS = (
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

pytestmark = needs_suite


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("conformance") / "home") as address:
        yield address


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_official_scenario_passes(url: str, scenario: str, tmp_path: Path) -> None:
    outcome = run_scenario(url, scenario, tmp_path)
    assert not outcome.failed, outcome.failed
    assert outcome.code == 0, outcome.printed
    assert any(check["status"] == "SUCCESS" for check in outcome.checks), outcome.printed
