"""The keys by which people and programs come in over HTTP, as the record keeps them.

A key is `atlas_<id>_<secret>`: 12 hexadecimal digits that name it, and 256 random bits of which only a SHA-256 is kept.
Whoever shares the record shares its keys. A key that is revoked stays in the record, so that the audit log can be read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.access import HOME_KEY, AccessKey, Limits, NewKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from atlas_mcp.model.access import Scope
    from atlas_mcp.store.record import Record

USED_EVERY = timedelta(minutes=1)
_TOKEN = re.compile(r"atlas_([0-9a-f]{12})_([0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def parsed(token: str) -> tuple[str, str] | None:
    """The id and the secret of what looks like a key, or None."""
    match = _TOKEN.fullmatch(token)
    return (match[1], match[2]) if match else None


def hashed(secret: str) -> str:
    """What is kept of a secret. It is random and long, so that one round is as good as many."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """The keys in one record."""

    def __init__(self, record: Record) -> None:
        self._record = record

    async def create(
        self,
        name: str,
        *,
        scopes: Collection[Scope],
        expires_in: timedelta | None = None,
        speaks_for: str | None = None,
        limits: Limits | None = None,
    ) -> NewKey:
        """Make a key. Its holder has the constellation of that name; or, with `speaks_for`, that of another key.

        InvalidInput for a name that does not fit or that an active key has, for no scopes, for a time that is over, and
        for a `speaks_for` that no key has had.
        """
        from sqlalchemy import insert

        from atlas_mcp.store.access_tables import access_key

        now = datetime.now(UTC)
        secret = secrets.token_hex(32)
        key = AccessKey(
            id=secrets.token_hex(6),
            name=_checked(name),
            caller=f"key:{speaks_for or name}",
            scopes=frozenset(scopes),
            limits=limits or Limits(),
            created_at=now,
            expires_at=_expiry(now, expires_in),
        )
        if not key.scopes:
            raise InvalidInput("a key without scopes opens nothing.", argument="scope")
        async with self._record.write() as db:
            known = await _all(db)
            _check_name(key, known)
            if speaks_for is not None:
                _check_other(speaks_for, known)
            row = key.model_dump(exclude={"scopes", "limits"})
            row |= {"scopes": sorted(key.scopes), "limits": key.limits.model_dump(exclude_none=True)}
            await db.execute(insert(access_key).values(**row, hash=hashed(secret)))
        return NewKey(key=key, token=f"atlas_{key.id}_{secret}")

    async def list(self) -> list[AccessKey]:
        """All keys there have been, the oldest first."""
        async with self._record.read() as db:
            return await _all(db)

    async def revoke(self, which: str) -> AccessKey:
        """Let a key, by its id or its name, open nothing any more. InvalidInput where there is no active one."""
        from sqlalchemy import update

        from atlas_mcp.store.access_tables import access_key

        async with self._record.write() as db:
            known = [key for key in await _all(db) if which in (key.id, key.name)]
            active = [key for key in known if key.revoked_at is None]
            if not active:
                raise InvalidInput(
                    f"{which!r} is revoked already." if known else f"there is no key {which!r}.",
                    argument="key",
                    next_step="`atlas-mcp keys list` shows all of them.",
                )
            revoked = active[-1].model_copy(update={"revoked_at": datetime.now(UTC)})
            at = {"revoked_at": revoked.revoked_at}
            await db.execute(update(access_key).where(access_key.c.id == revoked.id).values(at))
        return revoked

    async def find(self, key_id: str) -> tuple[AccessKey, str] | None:
        """The key of that id, whatever its state, with the hash of its secret."""
        from sqlalchemy import select

        from atlas_mcp.store.access_tables import access_key

        async with self._record.look() as db:
            row = (await db.execute(select(access_key).where(access_key.c.id == key_id))).mappings().first()
        return (_key(row), row["hash"]) if row else None

    async def used(self, key: AccessKey) -> None:
        """Write down when it was last used, as the key says."""
        from sqlalchemy import update

        from atlas_mcp.store.access_tables import access_key

        async with self._record.write(of=key.caller) as db:
            await db.execute(update(access_key).where(access_key.c.id == key.id).values(used_at=key.used_at))


def opens(secret: str, kept: str) -> bool:
    """Whether the secret is the one that hash was kept of; compared in constant time."""
    return hmac.compare_digest(hashed(secret), kept)


async def _all(db: Any) -> list[AccessKey]:
    from sqlalchemy import select

    from atlas_mcp.store.access_tables import access_key

    rows = await db.execute(select(access_key).order_by(access_key.c.created_at, access_key.c.id))
    return [_key(row) for row in rows.mappings()]


def _key(row: Mapping[Any, Any]) -> AccessKey:
    return AccessKey.model_validate({name: value for name, value in row.items() if name != "hash"})


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a name for a key.",
            argument="name",
            next_step="Use up to 64 letters, digits, and . _ @ - within them: ada, or ci.example.",
        )
    return name


def _check_name(key: AccessKey, known: list[AccessKey]) -> None:
    if key.name == HOME_KEY:
        raise InvalidInput(
            f"{HOME_KEY!r} is the home's own key.",
            argument="name",
            next_step=f"Choose another name; with `--for {HOME_KEY}` it speaks to that key's constellation.",
        )
    if any(other.name == key.name and other.state() == "active" for other in known):
        raise InvalidInput(
            f"there is an active key {key.name!r}.",
            argument="name",
            next_step=f"Revoke it first, or choose another name and `--for {key.name}`.",
        )


def _check_other(name: str, known: list[AccessKey]) -> None:
    there = {HOME_KEY, *(key.caller.removeprefix("key:") for key in known)}
    if name not in there:
        raise InvalidInput(
            f"no key speaks to a constellation {name!r}.",
            argument="--for",
            allowed=sorted(there),
            next_step=f"There are: {', '.join(sorted(there))}.",
        )


def _expiry(now: datetime, after: timedelta | None) -> datetime | None:
    if after is None:
        return None
    if after <= timedelta():
        raise InvalidInput("a key cannot have expired before it is made.", argument="--expires")
    return now + after
