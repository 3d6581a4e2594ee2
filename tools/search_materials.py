"""Full-text search in the run's materials: executed by ATLAS, with the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_mcp.constellation.run_files import RunDoor

KIND = "run"
POOLS = ("materials",)


def search_materials(run: RunDoor, query: str, limit: int = 8) -> str:
    """Search all materials of this task for passages about something; the best come first.

    Finds other forms of the same English word too. Quote from what you find only after read_material or quote_material.

    Args:
        query (str): Words to look for; passages with more and rarer ones of them rank higher.
        limit (int): How many passages to get, 1 to 20.

    Returns:
        str: JSON {"hits": [{"material", "start", "text"}]}; `start` is where the passage begins, in characters.
    """
    import json
    import re
    import sqlite3
    from contextlib import closing

    words = list(dict.fromkeys(re.findall(r"\w+", query.casefold())))[:40]
    if not words:
        raise ValueError("query: it has no words")
    passages = [(m, start, m.text[start:end].strip()) for m in run.materials() for start, end in _pieces(m.text)]
    with closing(sqlite3.connect(":memory:")) as index:
        index.execute("CREATE VIRTUAL TABLE passage USING fts5(text, tokenize='porter unicode61')")
        index.executemany("INSERT INTO passage(rowid, text) VALUES (?, ?)", ((n, p[2]) for n, p in enumerate(passages)))
        wanted = " OR ".join(f'"{word}"' for word in words)
        found = index.execute("SELECT rowid FROM passage WHERE passage MATCH ? ORDER BY rank, rowid", (wanted,))
        best = [row[0] for row in found.fetchmany(max(1, min(limit, 20)))]
    if not best:  # parts of words, and scripts that put no spaces between them
        counts = [(sum(word in p[2].casefold() for word in words), n) for n, p in enumerate(passages)]
        best = [n for count, n in sorted(counts, key=lambda c: (-c[0], c[1])) if count][: max(1, min(limit, 20))]
    hits = [{"material": passages[n][0].name, "start": passages[n][1], "text": passages[n][2]} for n in best]
    return json.dumps({"hits": hits}, ensure_ascii=False)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where each passage begins and ends: paragraphs, short ones together, long ones parted at their sentences."""
    import re

    longest, shortest = 800, 400
    begin = end = 0
    for paragraph in re.finditer(r"\S(?:(?!\n[ \t\r]*\n)[\s\S])*", text):
        if end > begin and paragraph.end() - begin > longest:
            yield begin, end
            begin = end
        begin = paragraph.start() if end == begin else begin
        end = paragraph.end()
        while end - begin > longest:
            stops = [m.end() for m in re.finditer(r"[.!?;。！？]\s|\n", text[begin : begin + longest])]
            cut = begin + (stops[-1] if stops and stops[-1] >= shortest else longest)
            yield begin, cut
            begin = cut
        if end - begin >= shortest:
            yield begin, end
            begin = end
    if end > begin:
        yield begin, end
