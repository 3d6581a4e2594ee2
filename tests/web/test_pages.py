"""What is made of a page: its readable text, what it says of itself, in whatever form and encoding it comes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_mcp.constellation.tool_source import read_tool
from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.kinds import kind_of
from atlas_mcp.reach.web.texts import decoded, plain
from tests.web.conftest import Agent
from tests.web.site import Reply, Site

pytestmark = pytest.mark.anyio
TOOL = Path(__file__).parents[2] / "tools" / "fetch_page.py"
ARTICLE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Lamps | The Coast</title>
<meta name="author" content="Ada Keeper"><meta property="article:published_time" content="2024-03-05T10:00:00Z">
<meta property="og:title" content="Lamps of the coast"></head><body>
<nav><a href="/">Home</a> <a href="/shop">Shop our lamps now</a></nav><article><h1>Lamps of the coast</h1>
<p>The keeper lit the lamp at dusk and trimmed the wick every four hours, as <a href="log.html#p2">the log</a> says,
and he did so for thirty years without a single night away from the tower.</p>
<p>The boat came on Fridays with oil and bread, and in winter it did not come at all for weeks on end, so that the
store below the stairs was filled in autumn.</p>
<table><tr><th>Year</th><th>Ships</th></tr><tr><td>1881</td><td>402</td></tr></table></article>
<footer>We use cookies. <a href="/imprint">Imprint</a></footer><script>let x = "<p>no</p>";</script></body></html>"""


def pdf(*pages: str, title: str = "") -> bytes:
    """A PDF with a line of text on each page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    objects.append(f"<< /Title ({title}) /Author (Ada Keeper) /CreationDate (D:20240305100000Z) >>")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return out + end.encode()


async def test_an_article_comes_without_what_surrounds_it_and_with_what_it_says_of_itself(
    agent: Agent, site: Site
) -> None:
    site.on("/coast/lamps", Reply(body=ARTICLE.encode()))
    page = await agent.fetch(f"{site.here}/coast/lamps")
    assert (page.title, page.author, page.date) == ("Lamps of the coast", "Ada Keeper", "2024-03-05")
    assert "trimmed the wick every four hours, as the log says" in page.text
    assert "| 1881 | 402 |" in page.text
    for noise in ("Shop our lamps", "cookies", "let x"):
        assert noise not in page.text
    assert [(link.text, link.address) for link in page.links] == [
        ("the log", f"{site.here}/coast/log.html"),
        ("Home", f"{site.here}/"),
        ("Shop our lamps now", f"{site.here}/shop"),
        ("Imprint", f"{site.here}/imprint"),
    ]
    assert agent.found == [(page.address, page.text, page.title)]


async def test_a_page_that_is_no_article_is_given_with_all_its_words(agent: Agent, site: Site) -> None:
    site.on("/short", Reply(body=b"<html><body><div>Closed on Mondays.</div></body></html>"))
    items = "".join(f"<li><a href='/x{n}'>Thing {n}</a></li>" for n in range(40))
    site.on("/list", Reply(body=f"<html><body><ul>{items}</ul></body></html>".encode()))
    assert (await agent.fetch(f"{site.here}/short")).text == "Closed on Mondays."
    listed = await agent.fetch(f"{site.here}/list")
    assert "Thing 0" in listed.text
    assert "Thing 39" in listed.text
    assert len(listed.links) == 40


async def test_a_pdf_is_read_page_after_page(agent: Agent, site: Site) -> None:
    body = pdf("The lamp was lit at dusk.", "Oil came on Fridays.", title="The log of the tower")
    site.on("/log.pdf", Reply(body=body, type="application/pdf"))
    site.on("/said-to-be-html", Reply(body=body))
    for path in ("/log.pdf", "/said-to-be-html"):
        page = await agent.fetch(f"{site.here}{path}")
        assert page.text == "The lamp was lit at dusk.\n\nOil came on Fridays."
        assert (page.kind, page.title, page.author) == ("pdf", "The log of the tower", "Ada Keeper")
        assert page.date == "2024-03-05"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (pdf(""), "a PDF without text, such as scanned pages"),
        (b"%PDF-1.7\nnothing of the kind", "a broken PDF"),
        (pdf("x")[:300], "PDF"),
    ],
)
async def test_a_pdf_that_cannot_be_read_says_why(agent: Agent, site: Site, body: bytes, why: str) -> None:
    site.on("/broken.pdf", Reply(body=body, type="application/pdf"))
    with pytest.raises(ToolFailed, match=why):
        await agent.fetch(f"{site.here}/broken.pdf")


async def test_json_is_laid_out_and_what_is_not_quite_json_is_given_as_it_is(agent: Agent, site: Site) -> None:
    site.on("/data", Reply(body=b'{"tower": {"height_m": 41}}', type="application/vnd.api+json; charset=utf-8"))
    site.on("/almost", Reply(body=b"{'tower': 41}", type="application/json"))
    site.on("/deep", Reply(body=b"[" * 200_000, type="application/json"))
    page = await agent.fetch(f"{site.here}/data")
    assert json.loads(page.text) == {"tower": {"height_m": 41}}
    assert page.text.count("\n") == 4
    assert (await agent.fetch(f"{site.here}/almost")).text == "{'tower': 41}"
    with pytest.raises(ToolFailed, match="nested too deeply"):
        await agent.fetch(f"{site.here}/deep")


async def test_text_and_markdown_come_as_they_stand(agent: Agent, site: Site) -> None:
    site.on("/notes.md", Reply(body="# Notes\r\n\r\n\r\n\r\n* ÿ  \x01\x07here".encode(), type="text/markdown"))
    page = await agent.fetch(f"{site.here}/notes.md")
    assert (page.kind, page.text) == ("markdown", "# Notes\n\n* ÿ  here")


@pytest.mark.parametrize(
    ("type", "body", "said"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0", "it is image/png, and only HTML, PDF"),
        ("video/mp4", b"\0\0\0\x18ftyp", "it is video/mp4"),
        ("application/zip", b"PK\x03\x04", "it is application/zip"),
        ("text/html", b"\x89PNG\r\n\x1a\n\0\0", "it is text/html, by what stands in it"),
        ("application/octet-stream", b"\x7fELF\x02", "it is application/octet-stream"),
        ("application/pdf", b"<html>no pdf</html>", "it is application/pdf"),
        ("", b"\x00\x01", "it is of a type that nobody names"),
    ],
)
async def test_what_is_not_read_is_refused_with_its_type(
    agent: Agent, site: Site, type: str, body: bytes, said: str
) -> None:
    site.on("/other", Reply(body=body, type=type))
    with pytest.raises(ToolFailed) as told:
        await agent.fetch(f"{site.here}/other")
    assert said in str(told.value)
    assert "Look for a page that has it as text." in str(told.value)


@pytest.mark.parametrize("body", [b"", b" \n\t ", b"<html><body></body></html>", b"<script>only()</script>"])
async def test_an_empty_page_is_told(agent: Agent, site: Site, body: bytes) -> None:
    site.on("/empty", Reply(body=body))
    with pytest.raises(ToolFailed, match=r"it is empty|there is no text in it"):
        await agent.fetch(f"{site.here}/empty")


def test_what_no_header_names_is_told_by_its_first_bytes() -> None:
    assert kind_of("", b"  <!-- x --> <!DOCTYPE html><p>")[0] == "html"
    assert kind_of("", b"<!-- a -->" + b"<!---->" * 100 + b"<html>")[0] == "html"
    assert kind_of("", b"<!---->" * 140 + b"no page")[0] == "text"  # and before the sun has burnt out
    assert kind_of("application/octet-stream", b'{"a": 1}')[0] == "json"
    assert kind_of("", b"Plain words")[0] == "text"
    assert kind_of("text/html; charset=UTF-16LE", b"<\0p\0")[0] == "html"
    assert kind_of("text/plain", "\ufeffx".encode("utf-16-le"))[0] == "text"


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("Größe".encode(), "", "Größe"),
        ("Größe".encode("latin-1"), "iso-8859-1", "Größe"),
        ("“Größe”".encode("cp1252"), "iso-8859-1", "“Größe”"),
        ("Größe".encode(), "iso-8859-1", "Größe"),  # declared wrongly, as often
        ("Der Größe nach, für späte Bäume".encode("latin-1"), "utf-8", "Der Größe nach, für späte Bäume"),
        ("Größe für alle".encode() + b"\xff", "utf-8", "Größe für alle\ufffd"),
        ("Größe".encode("utf-16"), "utf-8", "Größe"),
        ("Größe".encode("utf-16-le"), "utf-16le", "Größe"),
        ("大きさ".encode("shift_jis"), "shift_jis", "大きさ"),
        ("大きさ".encode("iso2022_jp"), "iso-2022-jp", "大きさ"),
        ("大きさ".encode("euc_jp"), "no-such-thing", "大きさ"),
        ("<meta charset=windows-1251>Маяк".encode("cp1251"), "", "Маяк"),
        ("Größe".encode(), "unicode_escape", "Größe"),
        ("Größe".encode(), "utf-7", "Größe"),
        (b"+ADw-script+AD4-", "utf-7", "+ADw-script+AD4-"),
        ("Größe".encode(), "base64", "Größe"),
        ("Größe".encode(), "x" * 90, "Größe"),
    ],
)
def test_an_encoding_is_found_whatever_is_declared(body: bytes, charset: str, text: str) -> None:
    found = decoded(body, charset, html=True).removeprefix("<meta charset=windows-1251>")
    if text == "大きさ" and charset == "no-such-thing":
        assert found  # six bytes are little to go by: any text will do
    else:
        assert found == text


@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "utf-16", "gbk", "ascii", "\x00", "utf-32", "cp037"]))
def test_any_bytes_become_a_text_that_can_be_stored(body: bytes, charset: str) -> None:
    text = plain(decoded(body, charset, html=True))
    assert "\0" not in text
    text.encode()
    assert plain(text) == text


async def test_of_a_very_large_page_all_words_are_taken(agent: Agent, site: Site) -> None:
    padding = b"<!-- " + b"x" * 2_000_000 + b" -->"
    site.on("/large", Reply(body=ARTICLE.encode().replace(b"</body>", padding + b"</body>")))
    page = await agent.fetch(f"{site.here}/large")
    assert page.title == "Lamps | The Coast"
    assert "trimmed the wick every four hours" in page.text
    assert "Shop our lamps now" in page.text


async def test_a_page_that_keeps_its_reader_too_long_holds_up_nobody(
    agent: Agent, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.on("/slow", Reply(body=b"<html><body>" + b"<p>word and more words</p>" * 70_000 + b"</body></html>"))
    site.on("/quick", Reply(body=b"<p>Quick.</p>"))
    with anyio.fail_after(100):
        with monkeypatch.context() as hasty:
            hasty.setattr("atlas_mcp.reach.web.web.READ_SECONDS", 0.1)
            with pytest.raises(ToolFailed, match=r"/slow: reading it took longer than 0\.1 s"):
                await agent.fetch(f"{site.here}/slow")
        assert (await agent.fetch(f"{site.here}/quick")).text == "Quick."


async def test_a_long_page_is_given_in_parts_and_kept_whole_for_quotations(agent: Agent, site: Site) -> None:
    names: dict[str, Any] = {}
    exec(read_tool(TOOL).source, names)
    fetch_page = names["fetch_page"]
    lines = [f"Line {n} of the log, in which nothing of note is written down." for n in range(600)]
    site.on("/long", Reply(body="\n".join(lines).encode(), type="text/plain"))
    address, whole = f"{site.here}/long", "\n".join(lines)
    first = await fetch_page(agent.door, address)
    assert first.startswith(f"[{address}: characters 0 to ")
    parts, start = [], 0
    while True:
        head, _, text = (await fetch_page(agent.door, address, start)).partition("\n\n")
        parts.append(text)
        if "that is its end" in head:
            break
        start = int(head.rpartition("start=")[2].rstrip("]"))
    assert "\n".join(parts) == whole
    assert len(parts) > 2
    assert all(len(part) <= 12_000 for part in parts)
    assert {found[:2] for found in agent.found} == {(address, whole)}
    assert site.paths().count("/long") == 1
    with pytest.raises(ValueError, match=f"start: 99999999 is outside of {address}; it may be 0 to {len(whole) - 1}"):
        await fetch_page(agent.door, address, 99_999_999)


async def test_what_an_agent_reads_first_is_where_from_by_whom_and_when(agent: Agent, site: Site) -> None:
    names: dict[str, Any] = {}
    exec(read_tool(TOOL).source, names)
    site.on("/told", Reply(body=ARTICLE.encode()))
    said = await names["fetch_page"](agent.door, f"{site.here}/told")
    assert said.splitlines()[0].endswith("that is its end]")
    assert said.splitlines()[1:4] == ["Title: Lamps of the coast", "Author: Ada Keeper", "Date: 2024-03-05"]
    assert f"Where it leads:\n- the log: {site.here}/log.html" in said
