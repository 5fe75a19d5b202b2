"""Puts a TopologyView together from rows: the local cluster by its established view, the others by announcement. Pure.

Reading the rows is `services.current_view`. The local cluster is added first and the first to name an instance wins, so
that nothing that another installation says can stand for an instance of this one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from topology import election, snapshot
from topology.connectors.announcement import Announcement
from topology.models import Instance, View


@dataclass(frozen=True)
class Announced:
    """An announcement that counts, and the member of this cluster that it was told to."""

    receiver: str
    announcement: Announcement
    is_trusted: bool


def members(view: View | None) -> tuple[election.Member, ...]:
    """Return the members of an established view in their order; none before the first one."""
    return tuple(election.Member(**member) for member in view.members) if view else ()


def topology_view(
    *,
    local: Instance,
    rows: Mapping[str, Instance],
    living: Iterable[election.Member],
    view: View | None,
    announced: Iterable[Announced],
) -> snapshot.TopologyView:
    """Return the topology as `local` sees it."""
    established = members(view)
    present = set(living)
    is_member = election.Member(local.sling_id, local.join_number) in established
    cluster = _local_cluster(local, rows, view, established)
    clusters = [cluster]
    known = {instance.sling_id for instance in cluster.instances}
    for entry in announced:
        if entry.receiver in known and entry.receiver in {member.sling_id for member in established}:
            clusters += _announced_clusters(entry, known)
    return snapshot.TopologyView(
        is_current=is_member and present == set(established),
        epoch=view.epoch if view else 0,
        clusters=tuple(clusters),
        local_id=local.sling_id,
    )


def _local_cluster(
    local: Instance, rows: Mapping[str, Instance], view: View | None, established: tuple[election.Member, ...]
) -> snapshot.ClusterView:
    """Return the established view as a cluster; an instance that is not in it yet sees itself at its end."""
    # Before there is a cluster id, the instance's own id stands for the cluster that it is alone in.
    cluster_id = view.cluster_id if view else local.sling_id
    found = [rows[member.sling_id] for member in established if member.sling_id in rows]
    if local.sling_id not in {row.sling_id for row in found}:
        found.append(local)
    return snapshot.ClusterView(
        id=cluster_id,
        instances=tuple(
            snapshot.InstanceDescription(
                sling_id=row.sling_id,
                cluster_id=cluster_id,
                is_leader=view is not None and row.sling_id == view.leader,
                is_local=row.sling_id == local.sling_id,
                is_trusted=True,
                join_number=row.join_number,
                properties=row.properties,
            )
            for row in found
        ),
    )


def _announced_clusters(entry: Announced, known: set[str]) -> list[snapshot.ClusterView]:
    """Return the clusters of an announcement without the instances in `known`, and add theirs to it."""
    clusters = []
    for part in entry.announcement.parts():
        fresh = [instance for instance in part.instances if instance.sling_id not in known]
        known |= {instance.sling_id for instance in fresh}
        if fresh:
            clusters.append(
                snapshot.ClusterView(
                    id=part.cluster_id,
                    instances=tuple(
                        snapshot.InstanceDescription(
                            sling_id=instance.sling_id,
                            cluster_id=part.cluster_id,
                            is_leader=instance.is_leader,
                            is_local=False,
                            is_trusted=entry.is_trusted,
                            join_number=number,
                            properties=instance.properties,
                        )
                        for number, instance in enumerate(fresh, start=1)
                    ),
                )
            )
    return clusters
