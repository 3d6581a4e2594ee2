"""The board's documents, joined from the files in `assets/`: each is complete in itself.

The policy in them lets run only the script and style that stand there, by their hashes, and lets the page speak only to
where it came from. In a host's frame that is nowhere: there it speaks through the host.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

SCRIPTS = ("words", "dom", "links", "story", "layout", "graph", "prose", "list", "panels", "question", "run", "main")


@cache
def board_page() -> str:
    """The board."""
    script = "\n".join(["'use strict';", *(_file(f"{name}.js") for name in SCRIPTS)])
    return _filled("board.html", policy=_policy(script), style=_file("style.css"), script=script)


@cache
def board_policy() -> str:
    """What the board may load and run, for the header; frames around it are refused there."""
    script = board_page().rpartition("<script>")[2].partition("</script>")[0]
    return f"{_policy(script)}; frame-ancestors 'none'"


def login_page(action: str, *, hours: int, problem: str = "", issuer: str = "", away: str = "") -> str:
    """Where people sign in; `problem` is what was wrong with the last try, in words. `away` is where those go who sign
    in at the issuer; without it they may bring a token of it themselves."""
    told = f'<p class="notice bad" role="alert">{html.escape(problem)}</p>' if problem else ""
    there = html.escape(urlsplit(issuer).netloc)
    if away:
        button = f'<a class="button" href="{html.escape(away)}">Sign in at {there}</a>'
        elsewhere = f'{button}<p class="muted">Or with the key that your MCP client uses.</p>'
    elif issuer:
        elsewhere = (
            f'<p class="muted">Sign in with the key that your MCP client uses, or with an access token of {there}.</p>'
        )
    else:
        elsewhere = '<p class="muted">Sign in with the key that your MCP client uses.</p>'
    filled = {"action": action, "hours": str(hours), "problem": told, "elsewhere": elsewhere}
    return _filled("login.html", style=_file("style.css"), **filled)


def onward_page(address: str) -> str:
    """What leads on to the board who comes from another site."""
    return _filled("onward.html", style=_file("style.css"), address=address)


@cache
def login_policy() -> str:
    """What the pages before it may do: show themselves, and send a form."""
    hashed = _hashed(_file("style.css"))
    return f"default-src 'none'; style-src {hashed}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def _policy(script: str) -> str:
    style = _hashed(_file("style.css"))
    return (
        f"default-src 'none'; script-src {_hashed(script)}; style-src {style}; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _filled(name: str, **parts: str) -> str:
    before, *rest = _file(name).split("{{")
    filled = [parts[part.partition("}}")[0]] + part.partition("}}")[2] for part in rest]
    return before + "".join(filled)


@cache
def _file(name: str) -> str:
    return files("atlas_mcp.server.board").joinpath("assets", name).read_text(encoding="utf-8")
