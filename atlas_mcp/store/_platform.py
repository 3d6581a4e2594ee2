"""Everything that differs between operating systems: the only module that calls fcntl, msvcrt or ctypes.

Promise: each function works on Linux, macOS and Windows, or says by its result that it has no means there. Nothing here
imports anything of ours, so that the sandbox's child can load this file by its path.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

WINDOWS = sys.platform == "win32"

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def lock_file(path: Path, *, create: bool = True, shared: bool = False) -> int | None:
    """Lock the file without waiting; the descriptor that holds the lock, or None if somebody else holds it.

    The lock belongs to the descriptor: the system frees it when the process ends in whatever way. The descriptor is
    not inherited by subprocesses. With `create` false a missing file is nobody's lock, and FileNotFoundError is raised.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0)
    while True:
        fd = os.open(path, flags, 0o600)  # never inherited: PEP 446
        try:
            if not _lock(fd, shared=shared):
                os.close(fd)
                return None
            if _is_still(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def unlock_file(fd: int, path: Path) -> None:
    """Free the lock and take the file away, so that a folder of locks holds only those in use."""
    if sys.platform == "win32":
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        os.close(fd)
        return
    path.unlink(missing_ok=True)
    os.close(fd)


def release_probe(fd: int) -> None:
    """Free a lock that was only taken to see whether it could be; the file stays."""
    os.close(fd)


def _lock(fd: int, *, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


def _is_still(fd: int, path: Path) -> bool:
    # Between open and lock the former owner may have taken the file away: then this lock guards nothing.
    if WINDOWS:
        return True
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
