"""The fenced blocks of a page: what they are written in, where they stand, and what file they are shown as."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^`]*)$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block. `title` is the file that it is shown as, or `output` for what the block before it prints."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as an editor opens it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks in their order, also those inside of lists, notes and tabs."""
    found: list[Block] = []
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if not (begin := _FENCE.match(line)):
            continue
        body: list[str] = []
        for _, inner in lines:
            if inner.strip() == begin["ticks"]:
                break
            body.append(inner)
        else:
            raise AssertionError(f"{page}:{number}: this block never ends")
        info = begin["info"].strip()
        title = _TITLE.search(info)
        language = info.split()[0] if info else ""
        text = textwrap.dedent("\n".join(body)) + "\n"
        found.append(Block(page, number, language, title[1] if title else None, text))
    return found


def all_blocks(*languages: str) -> list[Block]:
    """Every block of the README and the docs in one of these languages."""
    return [block for page in (README, *PAGES) for block in blocks_of(page) if block.language in languages]
