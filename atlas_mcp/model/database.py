"""The address of a PostgreSQL, as people write it."""

from __future__ import annotations

from urllib.parse import urlsplit

_SCHEMES = ("postgresql", "postgres")
_FORM = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"


def check_address(url: str) -> None:
    """Raise ValueError, which repeats nothing of the address, unless it is one of PostgreSQL with a database."""
    try:
        parts = urlsplit(url)
        scheme, database, _ = parts.scheme, parts.path.strip("/"), parts.port
    except ValueError:
        raise ValueError(f"it is no address; one looks like {_FORM}") from None
    if scheme not in _SCHEMES:
        raise ValueError(f"only a PostgreSQL is supported, by an address like {_FORM}; without it, SQLite is used")
    if not database or "/" in database:
        raise ValueError(f"it names no database; an address looks like {_FORM}")
