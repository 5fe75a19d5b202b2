"""What this installation says of itself over a connector, as client and as server alike."""

from topology import snapshot
from topology.connectors import announcement, registry


def compose(
    view: snapshot.TopologyView, *, without_owner: str = "", server_info: str = "", is_reset: bool = False
) -> announcement.Announcement:
    """Return our cluster and everything announced to its members, except what `without_owner` told us itself."""
    cluster = view.local_cluster
    return announcement.Announcement(
        owner_id=view.local_id,
        cluster_id=cluster.id,
        instances=tuple(
            announcement.AnnouncedInstance(instance.sling_id, instance.is_leader, dict(instance.properties))
            for instance in cluster.instances
        ),
        nested=tuple(
            entry.announcement
            for entry in registry.registered()
            if view.is_local_member(entry.receiver) and entry.announcement.owner_id != without_owner
        ),
        server_info=server_info,
        is_reset=is_reset,
    )
