"""The docs as a site: built strictly, every link leads somewhere, no other host is asked for anything, all is found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main

from atlas_mcp.cli.app import app
from atlas_mcp.server.app import tools_of
from atlas_mcp.settings import Settings
from tests.board.browser import needs_chromium, open_browser
from tests.docs.blocks import PAGES, ROOT

ASKS = {"src", "srcset", "data", "poster", "action"}
"""Attributes whose address a browser asks for by itself, or when a form is sent."""
HARMLESS = (
    "http://www.w3.org/",  # the name of a standard
    *("https://clipboardjs.com/", "http://lunrjs.com", "http://tartarus.org/", "https://bit.ly/"),  # in comments
    "https://unpkg.com/mermaid@",  # loaded for a class that no page has
    "https://unpkg.com/resize-observer-polyfill",  # loaded by browsers of before 2020
    "https://api.github.com/",  # asked where the site names a repository, which it does not
    "https://${e}/api/v4/",  # the same of GitLab
)
"""Addresses in the theme's script that it does not ask for on these pages, and why."""


class Page(HTMLParser):
    """What a page asks a browser to load, what it links to, and which places it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.loads += [given[name] for name in ASKS & given.keys()]
        if tag == "link" and given.get("rel") not in {"prev", "next", "canonical"}:
            self.loads.append(given.get("href", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.classes |= set(given.get("class", "").split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    read: dict[Path, Page] = {}
    for path in site.rglob("*.html"):
        read[path] = Page()
        read[path].feed(path.read_text(encoding="utf-8"))
    return read


def test_every_page_is_built_and_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    wanted = {f"{page.stem}.html" for page in PAGES}
    assert wanted <= {path.name for path in pages}
    linked = {link.split("#")[0] for link in pages[site / "index.html"].links} | {"index.html"}
    assert wanted <= linked


def test_links_lead_to_places_that_are_there(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # served for any address, so its links are absolute
            continue
        for link in page.links:
            address, _, place = link.partition("#")
            if "://" in address or address.startswith("mailto:"):
                continue
            target = (path.parent / address).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            assert target in pages or target.is_file(), f"{path.name}: {link}"
            if place and target in pages:
                assert place in pages[target].places, f"{path.name}: {link}"


def test_no_other_host_is_asked_for_anything(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert [one for one in page.loads if "//" in one] == [], path.name
        assert not {"mermaid", "md-source"} & page.classes, path.name
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", text) == [], style.name
    for script in site.rglob("*.js"):
        asked = set(re.findall(r"""https?://[^\s"'`)]+""", script.read_text(encoding="utf-8")))
        if script.name != "search_index.js" and "lunr" not in script.parts:  # the pages' text; words of other languages
            assert {one for one in asked if not one.startswith(HARMLESS)} == set(), script.name


def test_the_search_has_every_page_with_it(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].split("#")[0] for entry in index["docs"]}
    assert {f"{page.stem}.html" for page in PAGES} <= found
    assert (site / "search" / "search_index.js").is_file()  # what is searched where pages are opened as files


@needs_chromium
@pytest.mark.anyio
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_browser_searches_the_pages_as_files_and_asks_nobody(site: Path, scheme: str) -> None:
    async with open_browser() as browser, browser.page(color_scheme=scheme) as (page, seen):
        await page.goto(f"{(site / 'how-it-works.html').as_uri()}?q=budget")
        await page.locator(".md-search-result__link").first.wait_for()
        assert "Budgets" in await page.locator(".md-search-result__list").inner_text()
        assert await page.locator("[data-md-color-scheme]").first.get_attribute("data-md-color-scheme") == (
            "slate" if scheme == "dark" else "default"
        )
        assert seen.hosts == {""}  # a file is on no host
        assert seen.errors == []


def test_the_reference_is_what_the_program_has(site: Path) -> None:
    tools = (site / "reference-tools.html").read_text(encoding="utf-8")
    for tool in tools_of(cast("Any", None), "stdio", "all"):
        assert f"<code>{tool.name}</code>" in tools
        assert all(f"<code>{name}</code>" in tools for name in tool.parameters["properties"])
    settings = (site / "reference-settings.html").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"ATLAS_{name.upper()}")
        assert name == "provider_keys" or f"<code>{variable}</code>" in settings
    commands = (site / "reference-commands.html").read_text(encoding="utf-8")
    for path, command in _leaves("atlas-mcp", typer.main.get_command(app)):
        assert f"<code>{path}</code>" in commands
        shown = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
        assert all(f"<code>{one.opts[0]}</code>" in commands for one in shown if one.name != "help")


def _leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(path, command)]
    return [leaf for name, one in inner.items() if not one.hidden for leaf in _leaves(f"{path} {name}", one)]
