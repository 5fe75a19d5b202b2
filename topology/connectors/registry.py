"""Which announcements this installation keeps, shared by all members of the cluster, and how long they count.

An announcement counts from the moment it was received, on the database's clock; what its sender's clock says never
matters. Reading and writing the JSON is `announcement`'s, speaking HTTP `server`'s and `client`'s.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

from django.conf import settings
from django.db import models, transaction
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from topology import assembly, wakeup
from topology import models as rows
from topology.connectors import announcement

REFUSED = -1


def effective_timeout(backoff_seconds: int) -> timedelta:
    """Return how long an announcement counts after it was received, given the back-off that its sender was told."""
    timeout = settings.OFFLOADING_CONNECTOR_TIMEOUT_SECONDS
    return timedelta(seconds=max(timeout, backoff_seconds + timeout - settings.OFFLOADING_CONNECTOR_PING_SECONDS))


def register(
    told: announcement.Announcement,
    *,
    receiver: str,
    inherited: bool,
    is_trusted: bool,
    connector_url: str = "",
) -> int:
    """Keep what `receiver` was told; return the back-off to tell in seconds, or REFUSED.

    Refused is what is invalid, and what comes from an instance that another announcement to this receiver already has:
    it can be reached by two ways, and one is enough.
    """
    if told.is_loop or not told.is_valid():
        return REFUSED
    kept = replace(told.lasting(), is_inherited=inherited)
    with transaction.atomic():
        # Two announcements at once must see each other, or each would be the first.
        rows.Instance.objects.select_for_update().filter(sling_id=receiver).first()
        others = {row.owner_id: row for row in _counting(rows.Announcement.objects.filter(receiver=receiver))}
        mine = others.pop(told.owner_id, None)
        if mine and mine.is_trusted == is_trusted and announcement.from_json(mine.body) == kept:
            _mine(receiver, told.owner_id).update(last_ping_at=Now(), backoff_seconds=told.backoff_seconds)
            return 0
        _mine(receiver, told.owner_id).delete()
        wakeup.notify("topology")
        if any(_names(row, told.owner_id) for row in others.values()):
            return REFUSED
        rows.Announcement.objects.create(
            receiver=receiver,
            owner_id=told.owner_id,
            body=announcement.as_json(kept, created_ms=0),
            inherited=inherited,
            is_trusted=is_trusted,
            connector_url=connector_url,
            backoff_seconds=told.backoff_seconds,
        )
    return 0


def _names(row: rows.Announcement, sling_id: str) -> bool:
    return any(instance.sling_id == sling_id for instance in announcement.from_json(row.body).all_instances())


def unregister(*, receiver: str, owner_id: str) -> None:
    """Forget what that owner told; harmless if it told nothing."""
    with transaction.atomic():
        if _mine(receiver, owner_id).delete()[0]:
            wakeup.notify("topology")


def registered() -> list[assembly.Announced]:
    """Return what counts at any member of this cluster, the first registered first."""
    return [
        assembly.Announced(row.receiver, announcement.from_json(row.body), row.is_trusted)
        for row in _counting(rows.Announcement.objects.order_by("pk"))
    ]


def remove_expired() -> None:
    """Remove the announcements that count no more, whoever in this cluster they were told to."""
    everything = rows.Announcement.objects.all()
    counting = {row.pk for row in _counting(everything)}
    # Received again in the meantime is not expired, so the statement that removes looks at the age once more.
    oldest = Now() - timedelta(seconds=settings.OFFLOADING_CONNECTOR_TIMEOUT_SECONDS)
    with transaction.atomic():
        if everything.exclude(pk__in=counting).filter(last_ping_at__lte=oldest).delete()[0]:
            wakeup.notify("topology")


def remove_stale(*, receiver: str, connector_urls: Collection[str]) -> None:
    """Clear up at a start: what expired while nobody looked, what came over connectors that are configured no more."""
    remove_expired()
    left_over = rows.Announcement.objects.filter(receiver=receiver, inherited=True)
    left_over.exclude(connector_url__in=connector_urls).delete()


def remove_all(*, receiver: str) -> None:
    rows.Announcement.objects.filter(receiver=receiver).delete()


def _mine(receiver: str, owner_id: str) -> models.QuerySet[rows.Announcement]:
    return rows.Announcement.objects.filter(receiver=receiver, owner_id=owner_id)


def _counting(announcements: models.QuerySet[rows.Announcement]) -> list[rows.Announcement]:
    age = ExpressionWrapper(Now() - F("last_ping_at"), output_field=DurationField())
    return [row for row in announcements.annotate(age=age) if row.age < effective_timeout(row.backoff_seconds)]
