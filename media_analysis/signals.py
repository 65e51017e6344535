"""News for the layers above. Receivers only write down what is to be done; nothing slow happens in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.dispatch import Signal

from accounts.errors import SentinelError

P = ParamSpec("P")
R = TypeVar("R")

# Sent with `pk` after an analysis is done or failed for good, in the process that wrote it.
analysis_finished = Signal()

# Sent in the worker's main process once its queue runs. Receivers start their threads and return them, or None; each
# thread has a `stop` that asks it to end and waits for it.
worker_starts = Signal()

# Sent with `source` (a value of Submission.Source), `kind` ("file" or "link") and `result` ("accepted" or the error
# code) after somebody handed something in, in the process that took or refused it. `source` is empty for a file that
# was refused unread.
submission_judged = Signal()


def tells_judgement(kind: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Around a way in that takes `source` and raises SentinelError: send `submission_judged` for each call."""

    def around(submit: Callable[P, R]) -> Callable[P, R]:
        @wraps(submit)
        def telling(*args: P.args, **kwargs: P.kwargs) -> R:
            result = "internal_error"
            try:
                accepted = submit(*args, **kwargs)
                result = "accepted"
                return accepted
            except SentinelError as error:
                result = str(error.code)
                raise
            finally:
                # Robust: whoever counts must not be in the way.
                submission_judged.send_robust(sender=submit, source=str(kwargs["source"]), kind=kind, result=result)

        return telling

    return around
