"""The command `atlas-mcp`, also as `python -m atlas_mcp`.

What a host starts (`serve`, or nothing at all with stdin a pipe) takes the short way: stdout is protected before
anything else is imported, and nothing is imported that only people need.
"""

from __future__ import annotations

import os
import sys

_COMPLETING = "_ATLAS_MCP_COMPLETE"
"""What a shell sets that asks how a line may go on: then nobody wants a server."""


def main() -> None:
    """Run the command line; exits with 0, with 2 and one line on stderr for what the user can mend, or with 130."""
    os.umask(0o077)  # what the databases under the home hold is nobody else's to read
    arguments = sys.argv[1:]
    if arguments == ["serve"] or not (arguments or _at_terminal() or _COMPLETING in os.environ):
        from atlas_mcp.cli.stdio import run_stdio

        sys.exit(run_stdio())
    try:
        from atlas_mcp.cli.app import run

        sys.exit(run(arguments))
    except KeyboardInterrupt:  # while that was still being imported
        sys.stderr.write("atlas-mcp: interrupted\n")
        sys.exit(130)


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


if __name__ == "__main__":
    main()
