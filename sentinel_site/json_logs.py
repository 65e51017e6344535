"""Log lines for programs: one JSON object each. Imported only where LOG_FORMAT asks for it."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from logging import LogRecord
from typing import Any

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

from accounts import correlation
from ml import __version__
from sentinel_site.logs import scrub

HOST = socket.gethostname()


class JsonFormatter(BaseFormatter):
    """Fields: time (UTC), level, logger, message, host, process, thread, version; request_id, analysis and trace_id
    where there are any; error with the traceback of an exception."""

    def __init__(self) -> None:
        super().__init__("%(message)s", json_ensure_ascii=False)

    def add_fields(self, log_data: dict[str, Any], record: LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        log_data.update(host=HOST, process=os.getpid(), thread=record.threadName, version=__version__)
        # The filter's word, from the thread that wrote the line.
        for name in ("request_id", "analysis"):
            if value := getattr(record, name, ""):
                log_data[name] = value
        if trace := correlation.traceparent():
            log_data["trace_id"] = trace.split("-")[1]
        if error := message_dict.get("exc_info"):
            log_data["error"] = error

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: scrub(value) if isinstance(value, str) else value for name, value in log_data.items()}
