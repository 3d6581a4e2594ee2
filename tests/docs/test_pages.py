"""Every page is walked through as its reader would: each command and each program in it, in an empty home."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import PAGES, Block, blocks_of
from tests.docs.walk import DEADLINE, Walked, runs, shell_is_there, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WALKED = [page for page in PAGES if any(map(runs, blocks_of(page)))]


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Walked]]:
    """What came of a page. The pages are walked through two at a time, from the first time that one is asked for."""
    begun: dict[Path, Future[Walked]] = {}
    with ThreadPoolExecutor(2) as lanes:

        def of(page: Path) -> Walked:
            for one in WALKED:
                if one not in begun:
                    begun[one] = lanes.submit(_walk, one, tmp_path_factory.mktemp(one.stem))
            return begun[page].result(len(WALKED) * DEADLINE)

        yield of
        for one in begun.values():
            one.cancel()


def _walk(page: Path, folder: Path) -> Walked:
    try:
        return walk(blocks_of(page), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def shown(page: Path) -> Iterator[tuple[Block, str]]:
    """What the page says that a block prints, with that block."""
    before: Block | None = None
    for block in blocks_of(page):
        if block.title == "output":
            assert before is not None, f"{block.place} is the output of nothing"
            yield before, block.text
        elif runs(block):
            before = block


@pytest.mark.timeout(900)
@pytest.mark.skipif(not shell_is_there(), reason="the pages are written for bash")
@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.stem)
def test_all_that_a_page_tells_to_do_can_be_done(page: Path, walks: Callable[[Path], Walked]) -> None:
    walked = walks(page)
    assert walked.code == 0, f"{page.name}: {walked.told()}"
    for block, text in shown(page):
        for line in text.splitlines():
            wanted = ".*".join(re.escape(part) for part in line.split("…"))
            assert re.search(wanted, walked.outputs[block.line]), f"{block.place} prints:\n{walked.outputs[block.line]}"
