"""A home written to one file and taken from one, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp import __version__
from atlas_mcp._config import database
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.settings import settings_without_keys
from atlas_mcp.store import backup
from atlas_mcp.store.home import open_home
from atlas_mcp.store.restore import restore as put_back

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.settings import Settings
    from atlas_mcp.store.backup import Backup
    from atlas_mcp.store.postgres import Postgres


def back_up(settings: Settings, file: Path) -> Backup:
    """Write the home to that file, also while servers work on it. Blocks. See `store.backup.back_up`.

    ConfigurationError where the record is in a PostgreSQL, which has a command of its own for that.
    """
    if (elsewhere := database(settings)) is not None:
        raise _postgresqls_own(elsewhere, f"pg_dump --format=custom --schema='atlas*' --file='{file}'")
    home = open_home(settings.home)
    return backup.back_up(home, file.absolute(), version=__version__, settings=settings_without_keys(home.path))


def restore(settings: Settings, file: Path) -> tuple[Backup, Path | None]:
    """Put the home as that file has it; what it is, and where lies what was there. Blocks. See `store.restore`."""
    if (elsewhere := database(settings)) is not None:
        raise _postgresqls_own(elsewhere, "pg_restore --clean --if-exists --single-transaction FILE")
    return put_back(open_home(settings.home), file.absolute())


def _postgresqls_own(elsewhere: Postgres, command: str) -> ConfigurationError:
    program, options = command.split(" ", 1)
    return ConfigurationError(
        f"the record is in {elsewhere.shown}, with the runs: PostgreSQL has its own command for that.",
        argument="ATLAS_DATABASE_URL",
        next_step=f'Run: {program} --dbname="$ATLAS_DATABASE_URL" {options}. What a Letta server keeps is its own.',
    )
