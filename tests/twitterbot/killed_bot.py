"""The real command in this process, which kills itself at a point that the caller names.

    python -m tests.twitterbot.killed_bot twitterbot.services.add_mention:after:2 --once

kills at the end of the second call of that function; ``before`` at its beginning. With ``--worker`` all examinations
are ended first, as a worker would.
"""

from __future__ import annotations

import itertools
import os
import pkgutil
import signal
import sys
from collections.abc import Callable
from typing import Any

import django
from django.core.management import call_command


def kill_at(point: str) -> None:
    path, when, number = point.split(":")
    owner, _, name = path.rpartition(".")
    holder = pkgutil.resolve_name(owner)
    genuine = getattr(holder, name)
    calls = itertools.count(1)

    def killed(*args: Any, **options: Any) -> Any:
        last = next(calls) == int(number)
        if last and when == "before":
            die()
        result = genuine(*args, **options)
        if last:
            die()
        return result

    setattr(holder, name, killed)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> None:
    django.setup()
    if "--worker" in arguments:
        arguments.remove("--worker")
        finish: Callable[[], None] = pkgutil.resolve_name("tests.twitterbot.conftest:finish_all")
        finish()
    if arguments and not arguments[0].startswith("-"):
        kill_at(arguments.pop(0))
    call_command("run_twitterbot", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
