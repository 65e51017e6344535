"""Runs a Python module with limits: limited_run.py MEMORY SECONDS FILE_BYTES MODULE [ARGUMENT…]

A program of its own, started with ``python -I``: it takes nothing from the environment, the folder or the user that
it is started by, imports nothing of the site, and ends with the process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import resource
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1
OPEN_FILES = 128


def limit(memory: int, seconds: int, file_bytes: int) -> None:
    """`memory`: bytes of private memory, 0 for any; `seconds` of processor time; `file_bytes`: of each file written."""
    for kind, most in (
        (resource.RLIMIT_DATA, memory or resource.RLIM_INFINITY),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, allowed = resource.getrlimit(kind)
        bounded = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        if most == resource.RLIM_INFINITY:
            bounded = allowed
        resource.setrlimit(kind, (bounded, bounded))


def die_with_parent() -> None:
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It ended in between.
        sys.exit(1)


def main() -> None:
    memory, seconds, file_bytes = (int(each) for each in sys.argv[1:4])
    module = sys.argv[4]
    die_with_parent()
    limit(memory, seconds, file_bytes)
    sys.argv = [module, *sys.argv[5:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
