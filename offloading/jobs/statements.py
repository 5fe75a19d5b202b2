"""The few things in which the two databases differ for the hot statements: adding, claiming, and writing outcomes.

Those are written in SQL, a whole batch in one statement; everything else uses Django's ORM. Parameters go through
`key` and `moment`, because SQLite keeps ids and times as text, in the same form in which Django does.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection

# By the database's clock, in the form of Django's `Now()`.
_NOW = {"postgresql": "STATEMENT_TIMESTAMP()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}


# Says of a row found by its id that it is ACTIVE. Not in the words of the index of active jobs: under load that is full
# of entries of jobs that are no longer, and PostgreSQL would read them all rather than look up a hundred ids.
ROW_IS_ACTIVE = "offloading_job.state || '' = 'ACTIVE'"


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def now() -> str:
    """Return the expression for the database's present time."""
    return _NOW[connection.vendor]


def shifted(seconds: str) -> str:
    """Return the expression for the present time moved by the expression `seconds`."""
    if is_postgresql():
        return f"STATEMENT_TIMESTAMP() + ({seconds}) * INTERVAL '1 second'"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', JULIANDAY('NOW') + ({seconds}) / 86400.0)"


def seconds_since(column: str) -> str:
    """Return the expression for the seconds between a time and now."""
    if is_postgresql():
        return f"EXTRACT(EPOCH FROM STATEMENT_TIMESTAMP() - {column})::float"
    return f"(JULIANDAY('NOW') - JULIANDAY({column})) * 86400.0"


def skip_locked() -> str:
    """Return the clause for leaving out what somebody else is about to take. SQLite has one writer at a time."""
    return "FOR UPDATE SKIP LOCKED" if is_postgresql() else ""


def key(job_id: uuid.UUID) -> uuid.UUID | str:
    """Return an id as a parameter."""
    return job_id if is_postgresql() else job_id.hex


def keys(job_ids: Iterable[uuid.UUID]) -> list[uuid.UUID] | list[str]:
    """Return many ids as parameters."""
    return list(job_ids) if is_postgresql() else [job_id.hex for job_id in job_ids]


def to_uuid(value: Any) -> uuid.UUID:
    """Return an id that the database returned."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def moment(value: datetime | None) -> Any:
    """Return a time as a parameter."""
    return connection.ops.adapt_datetimefield_value(value) if value else None


def to_moment(value: Any) -> Any:
    """Return a time that the database returned."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def table(columns: Mapping[str, Sequence[Any]]) -> tuple[str, list[Any]]:
    """Return a SELECT or VALUES whose rows are those of `columns`, and its parameters.

    `columns` maps the PostgreSQL type of each column to what stands in it; types that occur twice carry a number behind
    a space. There each column is one array: a thousand parameters would cost more than the statement itself.
    """
    if is_postgresql():
        arrays = ", ".join(f"CAST(%s AS {name.partition(' ')[0]}[])" for name in columns)
        return f"SELECT * FROM UNNEST({arrays})", [list(column) for column in columns.values()]
    rows = list(zip(*columns.values(), strict=True))
    places = f"({', '.join(['%s'] * len(columns))})"
    return "VALUES " + ", ".join([places] * len(rows)), [value for row in rows for value in row]


def rank(column: str) -> str:
    """Return an expression that sorts as the time in `column`, and is cheap to read."""
    return f"EXTRACT(EPOCH FROM {column})::float" if is_postgresql() else column


def run(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Execute a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []
