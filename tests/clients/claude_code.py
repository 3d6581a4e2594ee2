"""Claude Code, the real host, offline: a stub model on loopback, a home of its own, and no way out.

Whatever it wants of another machine goes to the stub as to a proxy, and is refused there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.clients.terminal import terminal
from tests.npm import MODULES

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.clients.stub_model import StubModel
    from tests.clients.terminal import Terminal

PROGRAM = next(iter(sorted(MODULES.glob("@anthropic-ai/claude-code-*/claude*"))), None)
"""The native program, which its package's own installation script would only have copied."""
_KEY = "sk-ant-stub"


@dataclass(frozen=True)
class ClaudeCode:
    """An installation in that folder, with one server of that configuration named `atlas`."""

    folder: Path
    model: StubModel
    server: dict[str, Any]

    def tell(self, prompt: str) -> list[dict[str, Any]]:
        """One prompt without a terminal; all that it tells of it, until it is done."""
        told = ["-p", prompt, "--output-format", "stream-json", "--verbose"]
        process = subprocess.Popen(
            self._command(*told),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._work(),
            env=self._environment(),
            start_new_session=True,
        )
        try:
            out, errors = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert process.returncode == 0, out + errors
        return [json.loads(line) for line in out.splitlines()]

    def in_terminal(self) -> AbstractContextManager[Terminal]:
        """A session in a terminal."""
        return terminal(self._command(), self._work(), self._environment())

    def _command(self, *more: str) -> list[str]:
        config = json.dumps({"mcpServers": {"atlas": self.server}})
        only = ["--strict-mcp-config", "--mcp-config", config, "--allowedTools", "mcp__atlas"]
        return [str(PROGRAM), *only, "--permission-mode", "default", *more]

    def _work(self) -> Path:
        """The folder it works in; what a person is asked at first is answered in its home."""
        home, work = self.folder / "host", self.folder / "work"
        for one in (home, work):
            one.mkdir(exist_ok=True)
        answered = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "projects": {str(work): {"hasTrustDialogAccepted": True}},
            "customApiKeyResponses": {"approved": [_KEY[-20:]], "rejected": []},
        }
        (home / ".claude.json").write_text(json.dumps(answered))
        return work

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        proxy = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), self.model.url)
        return {
            **kept,
            **proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "HOME": str(self.folder / "host"),
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": _KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "ENABLE_TOOL_SEARCH": "false",  # the model is shown all tools at once
        }
