"""What happens to the topology in the database: joining, heartbeats, views, refusals; and the view that follows.

Every comparison of times is made by the database, so the clocks of the machines do not matter. The agent's `heartbeat`
decides when these acts are done; events are its affair as well.
"""

import logging
import uuid
from dataclasses import asdict
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.functions import Now

from topology import assembly, election, identity, properties, snapshot, wakeup
from topology.connectors import registry
from topology.models import Connector, Instance, Joining, Refusal, View

logger = logging.getLogger(__name__)

VIEWS_KEPT = timedelta(days=1)
REFUSALS_KEPT = timedelta(days=30)


class DuplicateInstance(RuntimeError):
    """Another live instance has this sling id."""


# --- Being there --------------------------------------------------------------------------------------------------


def join(runtime_id: str, wakeup_address: str = "") -> int:
    """Enter the cluster, at the end of the queue, as this run of this instance; returns the join number.

    A former run of the same home is replaced: the home's lock tells that it ended. Raises DuplicateInstance if the
    sling id is alive somewhere else.
    """
    sling_id = identity.sling_id()
    told = properties.collect(sling_id)
    with transaction.atomic():
        _refuse_duplicate(sling_id, runtime_id)
        joining = Joining.objects.create(sling_id=sling_id)
        Joining.objects.filter(sling_id=sling_id, pk__lt=joining.pk).delete()
        Instance.objects.update_or_create(
            sling_id=sling_id,
            defaults={
                "join_number": joining.pk,
                "runtime_id": runtime_id,
                "endpoint": settings.OFFLOADING_ENDPOINT,
                "home": identity.home(),
                "wakeup_address": wakeup_address,
                "heartbeat_at": Now(),
                "properties": told,
            },
        )
        registry.remove_stale(receiver=sling_id, connector_urls=settings.OFFLOADING_CONNECTOR_URLS)
        Connector.objects.filter(sling_id=sling_id).exclude(url__in=settings.OFFLOADING_CONNECTOR_URLS).delete()
        wakeup.notify("topology")
    logger.info("joined the cluster", extra={"instance": sling_id, "join_number": joining.pk})
    return joining.pk


def _refuse_duplicate(sling_id: str, runtime_id: str) -> None:
    other = (
        alive(Instance.objects.select_for_update())
        .filter(sling_id=sling_id)
        .exclude(runtime_id=runtime_id)
        .exclude(home=identity.home())
        .first()
    )
    if other is None:
        return
    raise DuplicateInstance(
        f"The sling id {sling_id} is alive at {other.endpoint} ({other.home}) and wanted here at "
        f"{settings.OFFLOADING_ENDPOINT} ({identity.home()}). Stop the other one, or remove "
        f"{settings.OFFLOADING_HOME / 'sling.id'} to make this a new instance."
    )


def leave() -> None:
    """Leave the cluster: from now on this instance is not alive, and what was announced to it is forgotten."""
    sling_id = identity.sling_id()
    with transaction.atomic():
        left = Instance.objects.filter(sling_id=sling_id, runtime_id=identity.runtime_id()).update(heartbeat_at=None)
        if not left:
            return
        registry.remove_all(receiver=sling_id)
        Connector.objects.filter(sling_id=sling_id).delete()
        wakeup.notify("topology")
    logger.info("left the cluster", extra={"instance": sling_id})


def renew(runtime_id: str) -> bool:
    """Write the heartbeat; return False if it is too late for that, and the instance has to join again.

    One guarded update: a stay that was over for anybody can never come back to life under its old join number.
    """
    mine = alive().filter(sling_id=identity.sling_id(), runtime_id=runtime_id)
    return mine.update(heartbeat_at=Now()) == 1


def publish_properties(runtime_id: str) -> None:
    """Ask the providers and write what this instance tells about itself, if that is something new."""
    sling_id = identity.sling_id()
    told = properties.collect(sling_id)
    mine = Instance.objects.filter(sling_id=sling_id, runtime_id=runtime_id)
    if mine.values_list("properties", flat=True).first() == told:
        return
    if mine.update(properties=told):
        wakeup.notify("topology")


# --- Views --------------------------------------------------------------------------------------------------------


def alive(instances: models.QuerySet[Instance] | None = None) -> models.QuerySet[Instance]:
    """Restrict to the instances whose heartbeat is young enough on the database's clock."""
    return (Instance.objects.all() if instances is None else instances).filter(heartbeat_at__gt=_oldest_heartbeat())


def _oldest_heartbeat() -> models.expressions.CombinedExpression:
    return Now() - timedelta(seconds=settings.OFFLOADING_HEARTBEAT_TIMEOUT_SECONDS)


def live_run_ids() -> models.QuerySet[Instance, str]:
    """Return the query for the runtime ids of the instances that are alive: what they claimed is in good hands.

    A query, to be used within the one that looks for what was claimed: between two of them an instance could join.
    """
    return alive().values_list("runtime_id", flat=True)


def latest_view() -> View | None:
    return View.objects.order_by("-epoch").first()


def establish_view() -> View | None:
    """Make a new view if another set of instances is alive than the last view says; return the view that now holds.

    Whoever inserts the next epoch first has established it; the others find it when they look again.
    """
    latest = latest_view()
    former = assembly.members(latest)
    live = [election.Member(*row) for row in alive().values_list("sling_id", "join_number")]
    members = election.arrange(former, live)
    if members == former or identity.sling_id() not in {member.sling_id for member in members}:
        return latest
    view = View(
        epoch=latest.epoch + 1 if latest else 1,
        cluster_id=latest.cluster_id if latest else str(uuid.uuid4()),
        members=[asdict(member) for member in members],
        leader=election.leader(members).sling_id,
    )
    if not insert_view(view):
        return latest_view()
    wakeup.notify("topology")
    logger.info("established a view", extra={"epoch": view.epoch, "members": len(members), "leader": view.leader})
    return view


def insert_view(view: View) -> bool:
    """Insert an epoch; return False if another member of the cluster was faster."""
    try:
        with transaction.atomic():
            view.save(force_insert=True)
    except IntegrityError:
        return False
    return True


def prune() -> None:
    """Forget views and refusals that are too old to matter; the last view stays however old it is."""
    latest = latest_view()
    if latest:
        View.objects.filter(established_at__lt=Now() - VIEWS_KEPT, epoch__lt=latest.epoch).delete()
    Refusal.objects.filter(last_at__lt=Now() - REFUSALS_KEPT).delete()


def current_view(latest: View | None = None) -> snapshot.TopologyView:
    """Return the topology as it is now, seen from this instance; never fails for want of a view.

    It is not current while the established view and the living do not agree, or this instance is not among them.
    `latest` is the established view, from a caller who has just looked for it.
    """
    local = Instance(
        sling_id=identity.sling_id(), join_number=0, properties=properties.standard(identity.sling_id()), home=""
    )
    is_alive = models.ExpressionWrapper(
        models.Q(heartbeat_at__isnull=False, heartbeat_at__gt=_oldest_heartbeat()), output_field=models.BooleanField()
    )
    rows = {row.sling_id: row for row in Instance.objects.annotate(is_alive=is_alive)}
    living = [election.Member(row.sling_id, row.join_number) for row in rows.values() if row.is_alive]
    return assembly.topology_view(
        local=rows.get(local.sling_id, local),
        rows=rows,
        living=living,
        view=latest or latest_view(),
        announced=registry.registered(),
    )


# --- What was refused, how connectors are doing --------------------------------------------------------------------


def record_refusal(kind: str, caller: str, reason: str) -> None:
    """Count something that another machine tried and was refused; logged the first time only.

    `caller` is its address and `reason` one of few constant sentences, so that no caller can fill the table.
    """
    cause = {"kind": kind[:50], "caller": caller[:200], "reason": reason[:500]}
    if Refusal.objects.filter(**cause).update(count=F("count") + 1, last_at=Now()):
        return
    try:
        with transaction.atomic():
            Refusal.objects.create(**cause)
    except IntegrityError:
        # Another request of the same caller was recorded between the two statements.
        Refusal.objects.filter(**cause).update(count=F("count") + 1, last_at=Now())
        return
    logger.warning("refused", extra=cause)


def refusals() -> models.QuerySet[Refusal]:
    """Return what was refused, the latest first."""
    return Refusal.objects.order_by("-last_at", "-pk")


def connectors() -> models.QuerySet[Connector]:
    """Return how the outgoing connectors of this installation's living instances are doing."""
    return Connector.objects.filter(sling_id__in=alive().values("sling_id")).order_by("sling_id", "url", "pk")
