"""The package file: one zip archive with a manifest and JSON entries, which says of itself what is in it.

Promise: equal packages give equal entries in equal order. A file is read whole or not at all: before anything of it is
used, every entry is held against the manifest (name, size, SHA-256) and against its schema, and nothing is in the file
that the manifest does not name. Nothing is ever unpacked to a path that the file chose. What is wrong is BrokenPackage,
with the entry's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zipfile
import zlib
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from atlas_mcp import __version__
from atlas_mcp.constellation.portable_entries import Manifest, ManifestEntry, Package
from atlas_mcp.constellation.portable_layout import BrokenEntry, from_files, to_files
from atlas_mcp.errors import BrokenPackage, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "atlas-constellation"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_ENTRIES = 50_000
MAX_BYTES = 1 << 30
"""Of all entries together, unpacked: a file that claims more is refused before it is unpacked."""
MAX_MANIFEST = 16 << 20

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_package(path: Path, package: Package) -> Manifest:
    """Write the package; a file of that name is replaced at the end, or not at all. InvalidInput if it cannot be."""
    files = to_files(package)
    told = Manifest(
        format=FORMAT,
        version=FORMAT_VERSION,
        atlas=__version__,
        created_at=datetime.now(UTC),
        entries=tuple(ManifestEntry(name=n, size=len(b), sha256=_hash(b)) for n, b in files.items()),
    )
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in ((MANIFEST, told.model_dump_json(indent=1).encode()), *files.items()):
                    archive.writestr(_info(name), content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(f"{path} cannot be written: {reason}.", argument="FILE") from error
    finally:
        draft.unlink(missing_ok=True)
    return told


def read_package(path: Path) -> Package:
    """The package in that file. BrokenPackage if it is none, or not whole; InvalidInput if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(f"{path} cannot be read: {reason}.", argument="FILE") from error
    except BrokenEntry as broken:
        raise BrokenPackage(str(path), broken.problem, entry=broken.name) from broken.__cause__
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BrokenPackage(str(path), f"it is no whole zip archive ({error})") from error


def _read(path: Path, archive: zipfile.ZipFile) -> Package:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if len(names) > MAX_ENTRIES:
        raise BrokenPackage(str(path), f"it has {len(names):,} entries; {MAX_ENTRIES:,} are the most")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise BrokenEntry(twice[0], "it is there twice")
    if MANIFEST not in names:
        raise BrokenPackage(str(path), f"it has no {MANIFEST}: it is no export of ATLAS")
    told = _manifest(path, _bounded(archive, archive.getinfo(MANIFEST), MAX_MANIFEST))
    listed = {entry.name: entry for entry in told.entries}
    if len(listed) < len(told.entries):
        raise BrokenEntry(MANIFEST, "it names an entry twice")
    for name in names:
        if name != MANIFEST and name not in listed:
            raise BrokenEntry(name, "the manifest does not name it")
    if missing := set(listed) - set(names):
        raise BrokenEntry(min(missing), "the manifest names it, and it is not there")
    if sum(entry.size for entry in told.entries) > MAX_BYTES:
        raise BrokenPackage(str(path), f"it unpacks to more than {MAX_BYTES >> 20:,} MiB")
    return from_files({name: _whole(archive, entry) for name, entry in listed.items()})


def _whole(archive: zipfile.ZipFile, entry: ManifestEntry) -> bytes:
    content = _bounded(archive, archive.getinfo(entry.name), entry.size)
    if len(content) != entry.size:
        raise BrokenEntry(entry.name, f"it has {len(content):,} bytes; the manifest says {entry.size:,}")
    if _hash(content) != entry.sha256:
        raise BrokenEntry(entry.name, "its SHA-256 is not that of the manifest: it was changed or damaged")
    return content


def _bounded(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The entry's content; no more is ever unpacked than it may have, whatever its header says."""
    if info.flag_bits & 0x1:
        raise BrokenEntry(info.filename, "it is encrypted")
    with archive.open(info) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BrokenEntry(info.filename, f"it unpacks to more than the {most:,} bytes that it may have")
    return content


def _manifest(path: Path, content: bytes) -> Manifest:
    try:
        read: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BrokenEntry(MANIFEST, f"it is not JSON ({error})") from error
    said = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    kind = said.get("format")
    if kind != FORMAT:
        raise BrokenEntry(MANIFEST, f"its format is {kind!r}, not {FORMAT!r}: it is no export of ATLAS")
    version: Any = said.get("version")
    if not isinstance(version, int) or version < 1:
        raise BrokenEntry(MANIFEST, f"its version is {version!r}")
    if version > FORMAT_VERSION:
        raise BrokenPackage(
            str(path),
            f"it is of version {version}, and this ATLAS ({__version__}) reads up to {FORMAT_VERSION}",
            next_step=f"Import it with ATLAS {said.get('atlas', 'of that version')} or newer.",
        )
    try:
        return Manifest.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        raise BrokenEntry(MANIFEST, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
