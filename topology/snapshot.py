"""What a topology looks like at one moment: instances, clusters, the whole view. Immutable and pure.

Building a view from the database is `services.current_view`; noticing that two of them differ is `compare`.
After org.apache.sling.discovery (InstanceDescription, ClusterView, TopologyView).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from topology import identity

NAME = "org.apache.sling.instance.name"
DESCRIPTION = "org.apache.sling.instance.description"
ENDPOINTS = "org.apache.sling.instance.endpoints"
CONSOLE_PATH = "com.adobe.granite.offloading.infrastructure.osgiconsole.path"


class TopologyChange(enum.StrEnum):
    TOPOLOGY = "TOPOLOGY_CHANGED"
    PROPERTIES = "PROPERTIES_CHANGED"


@dataclass(frozen=True)
class InstanceDescription:
    """One instance. `join_number` orders a cluster; of another cluster it is only the place in its announced list."""

    sling_id: str
    cluster_id: str
    is_leader: bool
    is_local: bool
    is_trusted: bool
    join_number: int
    properties: Mapping[str, str] = field(hash=False)

    @property
    def endpoint(self) -> str:
        """The first address that it can be reached at; empty if it told none."""
        return self.properties.get(ENDPOINTS, "").split(",")[0].strip()

    @property
    def label(self) -> str:
        """Host and port, as people name an instance; its id if it told no address."""
        return identity.endpoint_label(self.endpoint) or self.sling_id

    @property
    def name(self) -> str:
        return self.properties.get(NAME) or self.label


@dataclass(frozen=True)
class ClusterView:
    """The instances of one installation in join order. `leader` is None only before a first view was established."""

    id: str
    instances: tuple[InstanceDescription, ...]

    @property
    def leader(self) -> InstanceDescription | None:
        return next((instance for instance in self.instances if instance.is_leader), None)


@dataclass(frozen=True)
class TopologyView:
    """Everything reachable. `epoch` fences what a leader does; the local cluster comes first in `clusters`."""

    is_current: bool
    epoch: int
    clusters: tuple[ClusterView, ...]
    local_id: str

    @cached_property
    def _by_id(self) -> dict[str, tuple[ClusterView, InstanceDescription]]:
        return {instance.sling_id: (cluster, instance) for cluster in self.clusters for instance in cluster.instances}

    @property
    def instances(self) -> tuple[InstanceDescription, ...]:
        return tuple(instance for cluster in self.clusters for instance in cluster.instances)

    @property
    def local(self) -> InstanceDescription:
        return self._by_id[self.local_id][1]

    @property
    def local_cluster(self) -> ClusterView:
        return self.clusters[0]

    def get(self, sling_id: str) -> InstanceDescription | None:
        found = self._by_id.get(sling_id)
        return found[1] if found else None

    def cluster_of(self, sling_id: str) -> ClusterView | None:
        found = self._by_id.get(sling_id)
        return found[0] if found else None

    def is_local_member(self, sling_id: str) -> bool:
        return self.cluster_of(sling_id) is self.local_cluster

    def outdated(self) -> "TopologyView":
        """Return the same view as one that is over."""
        return replace(self, is_current=False)


def compare(a: TopologyView, b: TopologyView) -> TopologyChange | None:
    """Return what kind of change leads from one view to the other; None if nothing that anybody sees changed."""
    if a.epoch != b.epoch or len(a.instances) != len(b.instances):
        return TopologyChange.TOPOLOGY
    pairs = [(instance, b.get(instance.sling_id)) for instance in a.instances]
    if any(_has_moved(before, after) for before, after in pairs):
        return TopologyChange.TOPOLOGY
    if any(after is not None and _tells_otherwise(before, after) for before, after in pairs):
        return TopologyChange.PROPERTIES
    return None


def _has_moved(before: InstanceDescription, after: InstanceDescription | None) -> bool:
    return after is None or (before.cluster_id, before.is_leader) != (after.cluster_id, after.is_leader)


def _tells_otherwise(before: InstanceDescription, after: InstanceDescription) -> bool:
    # Whether an instance is trusted decides which of its properties are believed, so it counts as one of them.
    return (before.properties, before.is_trusted) != (after.properties, after.is_trusted)
