"""Orders in which jobs are read page by page, and the cursors that say where a page begins.

A page that begins behind a certain job costs the same however far down it is, and stays where it is when jobs come and
go. The instants of a key are the texts that the database itself has for them: SQLite keeps some of them shorter than
others, and reading and writing one would make another of it.
"""

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from offloading import exceptions
from offloading.jobs import conditions
from offloading.models import Job


class Order(Enum):
    """What jobs are sorted by; the id decides among equals. The values stand in cursors."""

    ID = ""  # rises with the time of creation, by the clock of the creator
    CREATED = "created_at"
    RANK = "rank_at"
    FINISHED = "finished_at"


@dataclass(frozen=True, order=True)
class Key:
    """The place of a job in an order."""

    text: str
    job_id: uuid.UUID


def keyed(rows: QuerySet[Job], order: Order) -> QuerySet[Job]:
    """Read along what `key_of` needs."""
    text = Cast(order.value, TextField()) if order.value else Value("", output_field=TextField())
    return rows.annotate(key_text=text)


def key_of(job: Job) -> Key:
    """Return the place of a job that was read from `keyed`."""
    return Key(job.key_text, job.id)  # type: ignore[attr-defined]


def keys(rows: QuerySet[Job]) -> list[Key]:
    """Read only the places of jobs, from `keyed`."""
    return [Key(text or "", job_id) for text, job_id in rows.values_list("key_text", "pk")]  # type: ignore[misc]


def ordered(rows: QuerySet[Job], order: Order, *, descending: bool) -> QuerySet[Job]:
    sign = "-" if descending else ""
    return rows.order_by(*[f"{sign}{column}" for column in (order.value, "id") if column])


def beyond(order: Order, key: Key, *, descending: bool) -> Q:
    """Return the condition for what comes after `key` when one reads in that direction."""
    operator, lookup = ("<", "pk__lt") if descending else (">", "pk__gt")
    if not order.value:
        return Q(**{lookup: key.job_id})
    past = Q(conditions.KeyComparison(order.value, operator, key.text)) | Q(**{lookup: key.job_id})
    # The first part alone says where in the index to begin.
    return Q(conditions.KeyComparison(order.value, f"{operator}=", key.text)) & past


def up_to(order: Order, key: Key, *, descending: bool) -> Q:
    """Return the condition for `key` and what comes before it when one reads in that direction."""
    operator, lookup = (">", "pk__gte") if descending else ("<", "pk__lte")
    if not order.value:
        return Q(**{lookup: key.job_id})
    past = Q(conditions.KeyComparison(order.value, operator, key.text)) | Q(**{lookup: key.job_id})
    return Q(conditions.KeyComparison(order.value, f"{operator}=", key.text)) & past


def instant_of(order: Order, key: Key) -> datetime:
    """Return the time that a key stands for."""
    if not order.value:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=key.job_id.int >> 80)
    found = datetime.fromisoformat(key.text)
    return found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)


def cursor(order: Order, key: Key) -> str:
    """Return the text that stands for a place in an order, fit for an address."""
    data = json.dumps([order.value, key.text, key.job_id.hex])
    return base64.urlsafe_b64encode(data.encode()).decode().rstrip("=")


def read_cursor(text: str, order: Order) -> Key:
    """Read a cursor of that order. Raises QueryInvalid for anything else."""
    try:
        padded = text + "=" * (-len(text) % 4)
        name, key_text, job_id = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
        key = Key(key_text, uuid.UUID(job_id))
        if Order(name) is order and isinstance(key_text, str):
            instant_of(order, key)
            return key
    except (ValueError, TypeError, AttributeError, binascii.Error, OverflowError):
        pass
    raise exceptions.QueryInvalid("This is no cursor of a page of this query. Begin at the first page.")
