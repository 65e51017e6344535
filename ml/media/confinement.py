"""Shuts a process in before it touches a file from strangers: it keeps what it has and gets nothing new.

Limits on memory, processor time, time and files (setrlimit, setitimer), and a filter on system calls (seccomp, Linux)
that lets through what computing and reading open descriptors needs: no opening of files, no network, no programs, no
other processes, no signals to anybody. A decoder that is taken over can then spoil its own answer, and nothing else.

There is no kept library for this filter that needs no package of the system, and it is short.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import pkgutil
import platform
import resource
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

logger = logging.getLogger(__name__)

GIBIBYTE = 1 << 30

# System calls by machine, from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h).
# "clone" is let through for threads only, and "fcntl" for what is harmless. All others are answered ENOSYS, at which
# libraries take another way.
_AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOWED: dict[str, dict[str, int]] = {
    "x86_64": {
        **{
            "read": 0,
            "write": 1,
            "close": 3,
            "fstat": 5,
            "poll": 7,
            "lseek": 8,
            "mmap": 9,
            "mprotect": 10,
            "munmap": 11,
        },
        **{"brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19},
        **{"writev": 20, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32, "nanosleep": 35, "getpid": 39},
        **{"exit": 60, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102, "getgid": 104},
        **{"sigaltstack": 131, "gettid": 186, "futex": 202, "sched_getaffinity": 204, "set_tid_address": 218},
        **{"restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230},
        **{"exit_group": 231, "newfstatat": 262, "set_robust_list": 273, "preadv": 295, "getcpu": 309},
        **{"getrandom": 318, "membarrier": 324, "rseq": 334},
    },
    "aarch64": {
        **{"dup": 23, "close": 57, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66},
        **{"pread64": 67, "preadv": 69, "ppoll": 73, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94},
        **{"set_tid_address": 96, "futex": 98, "set_robust_list": 99, "nanosleep": 101, "clock_gettime": 113},
        **{"clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124},
        **{"restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135},
        **{"rt_sigreturn": 139, "times": 153, "getrusage": 165, "getcpu": 168, "getpid": 172, "getuid": 174},
        **{"getgid": 176, "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222},
        **{"mprotect": 226, "madvise": 233, "getrandom": 278, "membarrier": 283, "rseq": 293},
    },
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_THREAD = 0x00010000
_FCNTL = {"x86_64": 72, "aarch64": 25}
# Commands below copy descriptors and read or set their flags, as does the other. By those above, a pipe can be made to
# send any process of the same user any signal (F_SETOWN, F_SETSIG).
_FIRST_UNSAFE_COMMAND, _COPY_CLOSING_AT_EXEC = 5, 1030
# Nothing else of our environment is the business of a process that reads files from strangers.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_KILL_PROCESS, _ALLOW, _ENOSYS = 0x80000000, 0x7FFF0000, 0x00050000 | 38
# Classic BPF: load a word of struct seccomp_data, jump if equal, if not less, if a bit is set, return.
_LOAD, _IF_EQUAL, _IF_NOT_LESS, _IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24


@dataclass(frozen=True, slots=True)
class Limits:
    """What a confined process may use: bytes of address space, seconds of processor time, seconds in all, and bytes of
    a file that it has open for writing."""

    memory: int = 4 * GIBIBYTE
    processor_seconds: int = 600
    seconds: int = 900
    file_bytes: int = 0


def confine(limits: Limits) -> None:
    """Shut this process in, for good. It must have one thread, and have opened and loaded all it needs."""
    _be_killed_first()
    for kind, limit in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.processor_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        bounded = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (bounded, bounded))
    # Nobody catches it: the process ends.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)
    if can_filter():
        _filter_system_calls()


def environment() -> dict[str, str]:
    """What of our environment such a process is started with: no secrets."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def load_all_of(package: ModuleType) -> None:
    """Import what a package else imports when it needs it: a confined process can open nothing any more."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        # Of each only what this build has.
        with suppress(ImportError):
            importlib.import_module(module.name)


def can_filter() -> bool:
    """Whether there is a filter for this kind of machine."""
    return sys.platform == "linux" and platform.machine() in _ALLOWED and sys.maxsize > 1 << 32


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, where the kernel can."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_killed_first() -> None:
    """When the host, or a container, runs out of memory, it is this process that the kernel ends, not who asked."""
    # There is none of it outside of Linux, nor where /proc is hidden.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _filter_system_calls() -> None:
    machine = platform.machine()
    program = _program(machine)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    described = Program(len(program) // 8, program)
    # Without it only root may set a filter; it also keeps programs from gaining rights.
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described))


def _program(machine: str) -> bytes:
    """The filter as instructions of 8 bytes."""
    numbers = sorted(_ALLOWED[machine].values())
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _AUDIT_ARCHITECTURE[machine]),
        # Through another architecture's door numbers would mean other calls.
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_SET, len(numbers) + 7, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _ENOSYS),
        (_IF_EQUAL, 0, 4, _FCNTL[machine]),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_IF_EQUAL, len(numbers) + 3, 0, _COPY_CLOSING_AT_EXEC),
        (_IF_NOT_LESS, 0, len(numbers) + 2, _FIRST_UNSAFE_COMMAND),
        (_RETURN, 0, 0, _ENOSYS),
        *((_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (_RETURN, 0, 0, _ENOSYS),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _prctl(option: int, *arguments: int) -> None:
    """Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    if library.prctl(option, *given) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option})")
