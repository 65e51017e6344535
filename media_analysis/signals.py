"""News for the layers above. Receivers only write down what is to be done; nothing slow happens in them."""

from __future__ import annotations

from django.dispatch import Signal

# Sent with `pk` after an analysis is done or failed for good, in the process that wrote it.
analysis_finished = Signal()

# Sent in the worker's main process once its queue runs. Receivers start their threads and return them, or None; each
# thread has a `stop` that asks it to end and waits for it.
worker_starts = Signal()
