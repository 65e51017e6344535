"""DATABASE_URL, for the three engines: what each connection is told, and what else an engine wants of the settings.

docs/databases.md describes what each engine guarantees. Nothing of MongoDB is imported here: only who names it in
DATABASE_URL needs its packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

SQLITE = "django.db.backends.sqlite3"
POSTGRESQL = "django.db.backends.postgresql"
MONGODB = "sentinel_site.mongodb"
OBJECT_ID = "sentinel_site.mongodb.keys.ObjectIdAutoField"

# Seconds until a server that does not answer counts as gone: pages then say so while somebody still waits for them.
CONNECT_SECONDS = 5
# A connection whose other end vanished without a word (a cable, a firewall) is given up after so long.
DEAD_LINK_SECONDS = 30
# A lock is waited for so long, as on SQLite: everything that is locked here is done within milliseconds.
LOCK_SECONDS = 20
# A transaction that nobody goes on with, since its process hangs, lets go of its locks.
IDLE_TRANSACTION_SECONDS = 60


def read(url: str, data_dir: Path, statement_seconds: float) -> dict[str, Any]:
    """The entry for Django's DATABASES that a DATABASE_URL means.

    ``statement_seconds`` is the longest that one statement may take on a server, 0 for no limit. What the address says
    itself after its "?" holds over what is set here. Raises ImproperlyConfigured for an engine that is none of the
    three, or for an address without the name of a database.
    """
    if url.startswith(("mongodb://", "mongodb+srv://")):
        return _mongodb(url, statement_seconds)
    config = dict(environ.Env.db_url_config(url))
    if config.get("ENGINE") == SQLITE:
        return _sqlite(config, data_dir)
    if config.get("ENGINE") == POSTGRESQL:
        return _postgresql(config, statement_seconds)
    scheme = url.partition(":")[0]
    raise ImproperlyConfigured(f"DATABASE_URL begins with {scheme!r}: sqlite, postgres, mongodb, mongodb+srv are known")


def engine_apps(database: dict[str, Any]) -> list[str]:
    """What has to be installed before all other apps."""
    return [MONGODB] if database["ENGINE"] == MONGODB else []


def key_field(database: dict[str, Any]) -> str:
    """DEFAULT_AUTO_FIELD."""
    return OBJECT_ID if database["ENGINE"] == MONGODB else "django.db.models.BigAutoField"


def migration_modules(database: dict[str, Any]) -> dict[str, str]:
    """MIGRATION_MODULES: MongoDB has migrations of its own, for the apps of others too."""
    if database["ENGINE"] != MONGODB:
        return {}
    folder = Path(__file__).with_name("migrations_mongodb")
    apps = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    return {app: f"sentinel_site.migrations_mongodb.{app}" for app in apps}


def _sqlite(config: dict[str, Any], data_dir: Path) -> dict[str, Any]:
    """Readers go on while one writes (WAL), a writer takes its lock at the start instead of failing half-way
    (IMMEDIATE), and waits for the other writer. Commits reach the disk before they are answered (FULL).
    """
    config["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": LOCK_SECONDS,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        **config.get("OPTIONS", {}),
    }
    # In a file for tests too: a database in memory that threads share has other locks, which do not wait.
    config["TEST"] = {"NAME": str(data_dir / "test.sqlite3")}
    return config


def _postgresql(config: dict[str, Any], statement_seconds: float) -> dict[str, Any]:
    """A connection lasts as long as what it is for, a request or a round of a worker.

    Django's own advice under ASGI, where threads come and go with their connections. A pool in the process would not
    survive the forks of the worker; where connecting costs too much, a PgBouncer belongs in between.
    """
    limits = {
        "statement_timeout": statement_seconds,
        "lock_timeout": LOCK_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_TRANSACTION_SECONDS,
    }
    config["OPTIONS"] = {
        "connect_timeout": CONNECT_SECONDS,
        # Asks after 10 silent seconds, twice more 10 seconds apart; what was sent must be acknowledged as soon.
        "keepalives_idle": DEAD_LINK_SECONDS // 3,
        "keepalives_interval": DEAD_LINK_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": DEAD_LINK_SECONDS * 1000,
        "application_name": "sentinel",
        "options": " ".join(f"-c {name}={round(1000 * seconds)}" for name, seconds in limits.items()),
        **config.get("OPTIONS", {}),
    }
    # For those who set CONN_MAX_AGE in the address.
    config.setdefault("CONN_HEALTH_CHECKS", True)
    return config


def _mongodb(url: str, statement_seconds: float) -> dict[str, Any]:
    """Acknowledged means: on the disks of the majority. Reads come from the primary, so that everybody sees at once
    what was written.
    """
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if not name:
        raise ImproperlyConfigured("DATABASE_URL names no database: mongodb://host:port/name")
    options: dict[str, Any] = {
        "appname": "sentinel",
        "serverSelectionTimeoutMS": CONNECT_SECONDS * 1000,
        "connectTimeoutMS": CONNECT_SECONDS * 1000,
        "w": "majority",
        "journal": True,
        "readPreference": "primary",
    }
    if statement_seconds:
        options["socketTimeoutMS"] = round(1000 * statement_seconds)
    given = {option.lower() for option in parse_qs(parts.query)}
    return {
        "ENGINE": MONGODB,
        # With user, password and options, all of which the driver reads by itself.
        "HOST": url,
        "NAME": name,
        "OPTIONS": {option: value for option, value in options.items() if option.lower() not in given},
    }
