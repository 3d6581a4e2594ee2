"""Everything that differs between operating systems: the only module that calls fcntl, msvcrt or ctypes.

Promise: each function works on Linux, macOS and Windows, or says by its result that it has no means there. Nothing here
imports anything of ours, so that the sandbox's child can load this file by its path.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

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


# ---- processes that run a tool's source ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What one process may use at the most."""

    cpu_seconds: int
    memory_bytes: int
    file_bytes: int = 10_000_000
    open_files: int = 64


def stop_process(pid: int) -> None:
    """End the process and, where it leads a group, the whole group, at once. Harmless if it is gone."""
    try:
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it ended by itself, or is a zombie that its parent has yet to collect


def ended_by(code: int) -> str:
    """In words, how a process ended that returned this code."""
    if sys.platform != "win32" and code < 0:
        return "it used more processor time than it may" if -code == signal.SIGXCPU else signal.strsignal(-code) or ""
    return f"it ended with code {code}"


def end_with(parent: int) -> None:
    """End this process as soon as the thread that started it ends, which is one of the process `parent`.

    Only Linux has means for that; elsewhere nothing happens. A process is started by the thread of its event loop,
    which outlives every call in it.
    """
    if sys.platform != "linux":
        return
    _checked(_libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0))
    if os.getppid() != parent:
        os._exit(1)  # it ended before


def become(parent: int, command: Sequence[str]) -> None:
    """Be that program from here on, which ends with `parent` as `end_with` says; on Linux and macOS only."""
    end_with(parent)
    if sys.platform != "win32":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so
    os.execvp(command[0], list(command))  # noqa: S606 - a program that the user named


def end_after(seconds: float) -> None:
    """End this process in so many seconds, if it still runs."""
    if sys.platform == "win32":
        import faulthandler

        faulthandler.dump_traceback_later(seconds, exit=True, file=os.open(os.devnull, os.O_WRONLY))
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def memory_bytes() -> int | None:
    """The memory that this process occupies: all of it that is resident; on macOS the most that it ever was."""
    if sys.platform == "linux":
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    if WINDOWS:
        return _working_set()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _working_set() -> int | None:
    import ctypes

    kernel: Any = ctypes.CDLL("kernel32", use_last_error=True)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    # PROCESS_MEMORY_COUNTERS: its size, page faults, the greatest and the present working set, six sizes more
    counters = ctypes.create_string_buffer(struct.pack("@LL8N", struct.calcsize("@LL8N"), *[0] * 9))
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.K32GetProcessMemoryInfo(process, counters, struct.calcsize("@LL8N")):
        return None
    return struct.unpack("@LL8N", counters.raw[: struct.calcsize("@LL8N")])[3]


def limit_process(limits: Limits) -> None:
    """Hold this process to the limits from now on; they cannot be raised again."""
    if sys.platform == "win32":
        _limit_by_job(limits)
        return
    import resource

    wanted = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
    }
    if _SECCOMP not in sandbox_means().split("+"):
        wanted[resource.RLIMIT_NPROC] = 0  # counts threads too; seccomp forbids processes only
    for kind, value in wanted.items():
        with suppress(ValueError):  # macOS has no limit of address space
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))


def _limit_by_job(limits: Limits) -> None:
    import ctypes

    active_process, process_memory, process_time = 0x8, 0x100, 0x2
    # JOBOBJECT_EXTENDED_LIMIT_INFORMATION: times in 100 ns, flags, working sets, processes, affinity, classes; I/O
    # counters; memory of a process, of the job, and the peaks.
    wanted = struct.pack(
        "@qqLNNLNLL6QNNNN",
        limits.cpu_seconds * 10_000_000, 0, active_process | process_memory | process_time, 0, 0, 1, 0, 0, 0,
        0, 0, 0, 0, 0, 0, limits.memory_bytes, 0, 0, 0,
    )  # fmt: skip
    kernel: Any = ctypes.CDLL("kernel32", use_last_error=True)
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
    job = ctypes.c_void_p(kernel.CreateJobObjectW(None, None))
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not (
        kernel.SetInformationJobObject(job, 9, wanted, len(wanted)) and kernel.AssignProcessToJobObject(job, process)
    ):
        raise OSError("the limits of the process could not be set")


# ---- closing files and network by the kernel ----------------------------------------------------------------------


@cache
def sandbox_means() -> str:
    """What this kernel has to close files and network for a process: landlock+seccomp, one of them, or none."""
    if sys.platform != "linux":
        return "none"
    means = [name for name, there in ((_LANDLOCK, _landlock_version() > 0), (_SECCOMP, _seccomp_there())) if there]
    return "+".join(means) or "none"


def confine_process(readable: Sequence[str], folder: str, *, network: bool) -> None:
    """Close everything to this process but reading below `readable` and writing in `folder`; for ever.

    By landlock: all other files. By seccomp: starting processes, signals and other ways into foreign processes, and
    sockets; with `network` only those that are not of the internet. Uses what `sandbox_means` names; OSError if the
    kernel then refuses.
    """
    means = sandbox_means().split("+")
    if means == ["none"]:
        return
    libc = _libc()
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if _LANDLOCK in means:
        _close_files(libc, readable, folder, network=network)
    if _SECCOMP in means:
        _close_calls(libc, network=network)


_LANDLOCK, _SECCOMP = "landlock", "seccomp"
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        import ctypes

        raise OSError(ctypes.get_errno(), "the kernel refused to close the sandbox")
    return result


_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_FILES_BY_VERSION = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
_NEVER = 1 << 0 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # execute; make devices, sockets, pipes


def _landlock_version() -> int:
    return _libc().syscall(_LANDLOCK_CREATE, None, 0, 1)


def _close_files(libc: Any, readable: Sequence[str], folder: str, *, network: bool) -> None:
    version = _landlock_version()
    files = _FILES_BY_VERSION[min(version, 5)]
    tcp = 3 if version >= 4 and not network else 0
    scopes = 3 if version >= 6 else 0  # abstract sockets and signals of others
    wanted = struct.pack("=QQQ", files, tcp, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = _checked(libc.syscall(_LANDLOCK_CREATE, wanted, len(wanted), 0))
    for path in readable:
        _allow(libc, rules, path, _READ_FILE | _READ_DIR)
    _allow(libc, rules, os.devnull, _READ_FILE | _WRITE_FILE)
    _allow(libc, rules, folder, files & ~_NEVER)
    _checked(libc.syscall(_LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)


def _allow(libc: Any, rules: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH)
    except OSError:
        return  # not on this machine, so there is nothing to open
    if not Path(path).is_dir():
        access &= ~_READ_DIR
    _checked(libc.syscall(_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", access, fd), 0))
    os.close(fd)


def _seccomp_there() -> bool:
    if platform.machine() not in _MACHINES or sys.maxsize < 2**32:
        return False
    return _libc().syscall(_calls()["seccomp"], 2, 0, struct.pack("=I", _ERRNO)) == 0


_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_DENY, _ABSENT = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
_CLONE_THREAD = 0x10000
_INTERNET = (2, 10)  # AF_INET, AF_INET6
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # the machine's mark, its column below

# Name, number on x86_64, number on aarch64 (- where there is none).
_SOCKETS = "connect 42 203 sendto 44 206 sendmsg 46 211"
_SERVERS = "socketpair 53 199 bind 49 200 listen 50 201 accept 43 202 accept4 288 242"
_DENIED = """
fork 57 - vfork 58 - execve 59 221 execveat 322 281 ptrace 101 117 process_vm_readv 310 270 process_vm_writev 311 271
process_madvise 440 440 process_mrelease 448 448 kcmp 312 272 pidfd_open 434 434 pidfd_getfd 438 438
pidfd_send_signal 424 424 rt_sigqueueinfo 129 138 rt_tgsigqueueinfo 297 240
io_uring_setup 425 425 io_uring_enter 426 426 io_uring_register 427 427
mount 165 40 umount2 166 39 pivot_root 155 41 chroot 161 51 unshare 272 97 setns 308 268
open_tree 428 428 move_mount 429 429 fsopen 430 430 fsconfig 431 431 fsmount 432 432 fspick 433 433
mount_setattr 442 442 bpf 321 280 perf_event_open 298 241 userfaultfd 323 282 keyctl 250 219 add_key 248 217
request_key 249 218 init_module 175 105 finit_module 313 273 delete_module 176 106 kexec_load 246 104
kexec_file_load 320 294 reboot 169 142 swapon 167 224 swapoff 168 225 sethostname 170 161 setdomainname 171 162
settimeofday 164 170 clock_settime 227 112 clock_adjtime 305 266 adjtimex 159 171 acct 163 89 quotactl 179 60
syslog 103 116 name_to_handle_at 303 264 open_by_handle_at 304 265 fanotify_init 300 262 setrlimit 160 164
setpriority 141 140 sched_setaffinity 203 122 sched_setscheduler 144 119 personality 135 92 iopl 172 - ioperm 173 -
modify_ldt 154 - chmod 90 - fchmod 91 52 fchmodat 268 53 fchmodat2 452 452 chown 92 - fchown 93 55 lchown 94 -
fchownat 260 54 setxattr 188 5 lsetxattr 189 6 fsetxattr 190 7 setxattrat 463 463 removexattr 197 14
lremovexattr 198 15 fremovexattr 199 16 removexattrat 466 466 utime 132 - utimes 235 - futimesat 261 - utimensat 280 88
truncate 76 45 mknod 133 - mknodat 259 33 link 86 - linkat 265 37 shmget 29 194 shmat 30 196 msgget 68 186 semget 64 190
mq_open 240 180 memfd_create 319 279 memfd_secret 447 447
"""
_ASKED = """
seccomp 317 277 socket 41 198 clone 56 220 clone3 435 435 kill 62 129 tkill 200 130 tgkill 234 131 prlimit64 302 261
prctl 157 167
"""


def _calls(*tables: str) -> dict[str, int]:
    column = _MACHINES[platform.machine()][1]
    words = " ".join(tables or (_ASKED,)).split()
    rows = zip(words[::3], zip(words[1::3], words[2::3], strict=True), strict=True)
    return {name: int(numbers[column]) for name, numbers in rows if numbers[column] != "-"}


def _close_calls(libc: Any, *, network: bool) -> None:
    import ctypes

    program = _program(network=network)
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _checked(libc.syscall(_calls()["seccomp"], 1, 0, head))


def _program(*, network: bool) -> bytes:
    """The filter, in the kernel's packet filter language: each call is allowed unless something here denies it."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    number, mark, first, third = 0, 4, 16, 32  # offsets: the call's number, the machine, arguments (low halves)

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    def when(call: int, *then: bytes) -> bytes:
        return step(equal, call, 0, len(then)) + b"".join(then)

    ask = _calls()
    parts = [
        step(load, mark), step(equal, _MACHINES[platform.machine()][0], 1, 0), step(give, _KILL),
        step(load, number), step(at_least, 0x40000000, 0, 1), step(give, _DENY),
    ]  # fmt: skip
    denied = _calls(_DENIED, _SERVERS, "" if network else _SOCKETS).values()
    parts.extend(when(call, step(give, _DENY)) for call in denied)
    parts.append(when(ask["clone3"], step(give, _ABSENT)))  # the C library then takes clone, whose flags can be read
    parts.append(
        when(ask["clone"], step(load, first), step(any_bit, _CLONE_THREAD, 0, 1), step(give, _ALLOW), step(give, _DENY))
    )
    for name in ("kill", "tkill", "tgkill"):  # only itself: how a process aborts
        own = step(load, first), step(equal, os.getpid(), 0, 1), step(give, _ALLOW), step(give, _DENY)
        parts.append(when(ask[name], *own))
    fate = step(load, first), step(equal, _PR_SET_PDEATHSIG, 0, 1), step(give, _DENY), step(give, _ALLOW)
    parts.append(when(ask["prctl"], *fate))
    limits = step(load, third), step(equal, 0, 0, 3), step(load, third + 4), step(equal, 0, 0, 1)
    parts.append(when(ask["prlimit64"], *limits, step(give, _ALLOW), step(give, _DENY)))
    families = [step(equal, f, len(_INTERNET) - i, 0) for i, f in enumerate(_INTERNET)] if network else []
    parts.append(when(ask["socket"], step(load, first), *families, step(give, _DENY), step(give, _ALLOW)))
    return b"".join([*parts, step(give, _ALLOW)])
