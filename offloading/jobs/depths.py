"""How many jobs wait and run now, counted from the jobs themselves: by queue, and by the instance they are meant for.

The conditions are those of the partial indexes, word for word: so a count reads indexes and not the jobs.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from offloading.jobs import statements

_READY = "state = 'QUEUED' AND not_before IS NULL"
_DELAYED = "state = 'QUEUED' AND not_before IS NOT NULL"
_ACTIVE = "state = 'ACTIVE'"
# How many of those next in line are looked at.
_HEAD = 100


@dataclass(frozen=True, slots=True)
class Depth:
    """The unfinished jobs of a queue that are meant for one instance, or for none yet (`target` "").

    `ready` could start, `delayed` wait for a time, `active` run, the last of them since `started_at`.
    """

    queue: str
    target: str
    ready: int = 0
    delayed: int = 0
    active: int = 0
    started_at: datetime | None = None


def read(instance: str = "") -> list[Depth]:
    """Count the unfinished jobs in one statement: all of them, or those meant for one instance."""
    of_instance, parameters = (" AND target = %s", [instance] * 3) if instance else ("", [])
    rows = statements.run(_COUNTS.format(of_instance=of_instance), parameters)
    return [
        Depth(queue, target, int(ready), int(delayed), int(active), moment(when))
        for queue, target, ready, delayed, active, when in rows
    ]


_COUNTS = f"""
SELECT queue, target, SUM(ready), SUM(delayed), SUM(active), MAX(started_at) FROM (
    SELECT queue, target, 0 AS ready, 0 AS delayed, COUNT(*) AS active, MAX(started_at) AS started_at
    FROM offloading_job WHERE {_ACTIVE}{{of_instance}} GROUP BY target, queue
    UNION ALL
    SELECT queue, target, COUNT(*), 0, 0, NULL
    FROM offloading_job WHERE {_READY}{{of_instance}} GROUP BY target, queue
    UNION ALL
    SELECT queue, target, 0, COUNT(*), 0, NULL
    FROM offloading_job WHERE {_DELAYED}{{of_instance}} GROUP BY target, queue
) counted GROUP BY queue, target ORDER BY queue, target
"""


def moment(value: Any) -> datetime | None:
    """Return a time that a statement returned: SQLite knows them as text alone."""
    found = parse_datetime(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def oldest_seconds(queue: str) -> float:
    """Return how long the longest waits of those next in line in a queue; 0 if none could start.

    Looks at the head of the line alone, which costs the same however long it is: it is nearly the line of their ages.
    """
    age = statements.seconds_since("queued_at")
    ((oldest,),) = statements.run(
        f"SELECT MAX(age) FROM (SELECT {age} AS age FROM offloading_job "
        f"WHERE state IN ('QUEUED', 'ACTIVE') AND queue = %s AND {_READY} ORDER BY rank_at, id LIMIT {_HEAD}) head",
        [queue],
    )
    return max(float(oldest or 0), 0.0)
