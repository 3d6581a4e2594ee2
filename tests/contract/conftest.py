"""The real Letta server of the session, and a Letta of each kind for the tests that hold for both."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.real_letta import RealLetta
from tests.real_letta import real_letta as started


@pytest.fixture(scope="session")
def _real_letta() -> Iterator[RealLetta]:
    with started() as letta:
        yield letta


@pytest.fixture
def real_letta(_real_letta: RealLetta) -> RealLetta:
    """The real server, with nothing scripted; what earlier tests made there is still there."""
    _real_letta.scripted.reset()
    return _real_letta


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure on the real server shows what that server printed last."""
    report = yield
    letta = getattr(item, "funcargs", {}).get("_real_letta")
    if report.failed and letta is not None:
        report.sections.append(("Letta's log", letta.log_tail()))
    return report
