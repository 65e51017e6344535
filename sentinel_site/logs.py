"""Log lines: which request and analysis each is about, and nothing secret in any."""

from __future__ import annotations

import logging
import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from accounts import correlation

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Libraries whose debug lines hold requests with their signatures, or commands with their documents.
TALKATIVE = (
    *("boto3", "botocore", "httpcore", "httpx", "oauthlib", "pymongo", "redis", "requests_oauthlib", "s3transfer"),
    *("tweepy", "urllib3"),
)

_NAMES = (
    r"[\w-]*(?:passw(?:or)?d|passphrase|secret|token|signature|credential|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|session(?:id|_key)|csrf\w*)"
)
# Each with what stays of it.
SECRETS = (
    # postgres://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@/]+@", re.IGNORECASE), r"\1:***@"),
    # Headers: the rest of the line belongs to them.
    (
        re.compile(r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*[:=]\s*)[^\r\n]+""", re.IGNORECASE),
        r"\1\2***",
    ),
    (re.compile(r"\b(bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
    # JSON Web Tokens.
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), "***"),
    # Presigned addresses of S3, Google and Azure.
    (re.compile(r"\b(X-(?:Amz|Goog)-[A-Za-z-]+|AWSAccessKeyId|sig)=[^&\s\"']+"), r"\1=***"),
    # name=value, "name": "value"
    (re.compile(rf"""(?<![\w-])({_NAMES}\d?)(["']?\s*[=:]\s*["']?)[^\s&;"',)}}\]]+""", re.IGNORECASE), r"\1\2***"),
    # Links from e-mails that let whoever has them in.
    (re.compile(r"(/accounts/password-reset/)[^/\s]+/[^/\s]+"), r"\1***"),
)


def scrub(text: str) -> str:
    """The same text with passwords, tokens, cookies and signatures blotted out.

    The second line of defence: nothing of ours writes them. What libraries put into messages of exceptions, nobody
    knows in advance.
    """
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def one_line(text: str) -> str:
    """The same text with ends of lines, and whatever else cannot be seen or turns a line around, spelled out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class Correlate(logging.Filter):
    """Tells each record which request and analysis it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        work = correlation.current()
        record.request_id, record.analysis = work.request_id, work.analysis
        return True


class LineFormatter(logging.Formatter):
    """Lines for people, with the ids in brackets where there are any."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}{about}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:
        # Before a traceback follows: what somebody sent begins no line of its own.
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        ids = [value for value in (getattr(record, "request_id", ""), getattr(record, "analysis", "")) if value]
        record.about = f" [{' '.join(ids)}]" if ids else ""
        return scrub(super().format(record))


def configuration(layout: str, level: str) -> dict[str, Any]:
    """What Django's LOGGING wants to know; `layout` is `line` or `json`. Raises ImproperlyConfigured for any other,
    or for a `level` that is none."""
    if layout not in {"line", "json"}:
        raise ImproperlyConfigured("LOG_FORMAT is neither line nor json")
    level = level.upper()
    if level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL is none of {', '.join(LEVELS)}: {level!r}")
    quiet = {"level": "WARNING"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"correlate": {"()": "sentinel_site.logs.Correlate"}},
        "formatters": {
            "line": {"()": "sentinel_site.logs.LineFormatter"},
            "json": {"()": "sentinel_site.json_logs.JsonFormatter"},
        }
        if layout == "json"
        else {"line": {"()": "sentinel_site.logs.LineFormatter"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": layout, "filters": ["correlate"]}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django-q": {"handlers": ["console"], "level": "INFO", "propagate": False},
            "axes": quiet,
            # They tell every step of every report.
            "weasyprint.progress": quiet,
            "fontTools": quiet,
            **dict.fromkeys(TALKATIVE, quiet),
            "django.db.backends": {"level": "INFO"},
            # The web server has handlers of its own, whose lines would know no ids.
            "uvicorn": {"handlers": ["console"], "level": "WARNING", "propagate": False},
            "uvicorn.error": {"handlers": [], "propagate": True},
        },
    }
