"""What Django is told about the database: PostgreSQL with a pool, or a file of SQLite."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from resource_server.config import SettingInvalid, Settings
from resource_server.store.database import CONCURRENCY

#: Seconds for a connection to be made, or to come free in the pool.
CONNECT_TIMEOUT_S = 5
#: Seconds that PostgreSQL spends on one statement, and for which it keeps an idle transaction.
STATEMENT_TIMEOUT_S = 9
#: A server that is gone without a word, as at a fail-over to another host, is given up after so
#: long. Linux by itself waits for a quarter of an hour, and for hours on an idle connection.
UNANSWERED = {
    "tcp_user_timeout": "10000",  # milliseconds
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
#: Seconds that a writer to SQLite waits for another one.
SQLITE_WAIT_S = 20


def connection_settings(settings: Settings, role: str) -> dict[str, Any]:
    """Return the entry of Django's `DATABASES` for a process of this role."""
    url = settings.read_database_url()
    if url is None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": settings.database_path,
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": SQLITE_WAIT_S},
        }
    given = _parameters(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": given.pop("dbname"),
        "CONN_MAX_AGE": 0,
        # A connection that a restart of PostgreSQL broke is replaced before anybody gets it.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": _timeouts(given.pop("options", ""))
        | {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": f"hotnode-{role}"}
        | UNANSWERED
        | given
        | {
            "pool": {
                "min_size": 1,
                "max_size": CONCURRENCY,
                "timeout": CONNECT_TIMEOUT_S,
                # The pool gives up a connection after so long, and makes one when next asked.
                "reconnect_timeout": CONNECT_TIMEOUT_S,
                "name": "database",
            }
        },
    }


def _parameters(url: str) -> dict[str, Any]:
    """Return what the URL says; whatever libpq knows, as `sslmode`, may stand in it."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # The error's text repeats parts of the URL, which holds a password.
        raise SettingInvalid("HOTNODE_DATABASE_URL cannot be read by PostgreSQL's client") from None
    if not given.get("dbname"):
        raise SettingInvalid("HOTNODE_DATABASE_URL names no database: postgresql://host/name")
    return dict(given)


def _timeouts(further: str) -> dict[str, str]:
    milliseconds = STATEMENT_TIMEOUT_S * 1000
    ours = (
        f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds}"
    )
    return {"options": f"{ours} {further}".strip()}
