"""Topologies for tests of the job engine: pictures of one for its pure parts, rows of one for the rest."""

from django.conf import settings
from django.db.models.functions import Now

from offloading.jobs import distribution
from topology import identity
from topology.models import Instance, Joining, View
from topology.snapshot import ENDPOINTS, ClusterView, InstanceDescription, TopologyView


def view(*clusters: list[str], local: str = "", is_current: bool = True, **properties: str) -> TopologyView:
    """Return a view of these clusters, each a list of sling ids with its leader first; the first is the local one.

    All instances tell `properties`.
    """
    built = tuple(
        ClusterView(
            id=f"cluster of {ids[0]}",
            instances=tuple(
                InstanceDescription(
                    sling_id=sling_id,
                    cluster_id=f"cluster of {ids[0]}",
                    is_leader=number == 1,
                    is_local=sling_id == (local or clusters[0][0]),
                    is_trusted=True,
                    join_number=number,
                    properties=properties | {ENDPOINTS: f"http://{sling_id}:4502/"},
                )
                for number, sling_id in enumerate(ids, start=1)
            ),
        )
        for ids in clusters
    )
    return TopologyView(is_current=is_current, epoch=1, clusters=built, local_id=local or clusters[0][0])


def establish(*others: str, topics: str) -> str:
    """Put a living cluster into the database: this instance, its leader, and `others`; all announce `topics`.

    Returns the sling id of this instance.
    """
    local = identity.sling_id()
    members = [_instance(sling_id, topics) for sling_id in (local, *others)]
    View.objects.all().delete()
    View.objects.create(
        epoch=1,
        cluster_id="the cluster",
        members=[{"sling_id": each.sling_id, "join_number": each.join_number} for each in members],
        leader=local,
    )
    return local


def announce(sling_id: str, topics: str, slots: int = 1) -> None:
    """Have an instance say that it has consumers for `topics`, and how many jobs it runs at a time."""
    told = _properties(sling_id, topics) | {distribution.SLOTS: str(slots)}
    Instance.objects.filter(sling_id=sling_id).update(properties=told)


def run_of(sling_id: str) -> str:
    """Return the name of the run of an instance that `establish` made."""
    return f"run of {sling_id}"[:36]


def drop(sling_id: str, local: str) -> None:
    """Let an instance vanish, and establish the view without it."""
    Instance.objects.filter(sling_id=sling_id).update(heartbeat_at=None)
    last = View.objects.order_by("-epoch").first()
    View.objects.create(
        epoch=last.epoch + 1,
        cluster_id=last.cluster_id,
        members=[each for each in last.members if each["sling_id"] != sling_id],
        leader=local,
    )


def _instance(sling_id: str, topics: str) -> Instance:
    return Instance.objects.create(
        sling_id=sling_id,
        join_number=Joining.objects.create(sling_id=sling_id).pk,
        runtime_id=run_of(sling_id),
        endpoint=settings.OFFLOADING_ENDPOINT,
        home=sling_id,
        heartbeat_at=Now(),
        properties=_properties(sling_id, topics),
    )


def _properties(sling_id: str, topics: str) -> dict[str, str]:
    told = {
        ENDPOINTS: f"http://{sling_id[:8]}:4502/",
        distribution.CONSUMER_TOPICS: topics,
        distribution.REGISTERED_TOPICS: topics,
    }
    return told


def bring_back(sling_id: str, local: str) -> None:
    """Let an instance that vanished live again, and establish the view with it."""
    Instance.objects.filter(sling_id=sling_id).update(heartbeat_at=Now())
    last = View.objects.order_by("-epoch").first()
    joined = Instance.objects.get(sling_id=sling_id)
    View.objects.create(
        epoch=last.epoch + 1,
        cluster_id=last.cluster_id,
        members=[*last.members, {"sling_id": sling_id, "join_number": joined.join_number}],
        leader=local,
    )
