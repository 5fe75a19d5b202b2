"""What is asked of a session with a PostgreSQL server: that who vanishes in a transaction keeps no lock.

A machine without power closes no connection, and a process that is frozen keeps its own alive: without a word the
server would hold their locks for hours, or for ever. SQLite's one lock goes with the process, and has no limit.
"""

import math
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_PROBES = 3


def end_idle_transactions() -> None:
    """Have the server end transactions of this process in which nothing was said for as long as a lease lasts.

    For processes that run no code of consumers: those may well be busy for long between two statements.
    """
    connection_created.connect(_limit_idle, dispatch_uid="topology.sessions.limit_idle")


def notice_dead_clients(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Have the server look for a silent client, and end its session when that is gone for as long as a lease lasts."""
    lease = settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS
    probe = max(1, math.floor(lease / (2 * _PROBES)))
    _set(
        connection,
        tcp_keepalives_idle=max(1, math.floor(lease / 2)),
        tcp_keepalives_interval=probe,
        tcp_keepalives_count=_PROBES,
        tcp_user_timeout=math.ceil(lease * 1000),
    )


def _limit_idle(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _set(
        connection,
        idle_in_transaction_session_timeout=math.ceil(settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS * 1000),
    )


def _set(connection: BaseDatabaseWrapper, **values: int) -> None:
    if connection.vendor != "postgresql":
        return
    calls = ", ".join("set_config(%s, %s, false)" for _ in values)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [part for name, value in values.items() for part in (name, str(value))])
