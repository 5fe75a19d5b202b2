import pytest

from topology import snapshot
from topology.snapshot import TopologyChange


def instance(sling_id="a", **changes):
    facts = {
        "cluster_id": "c1",
        "is_leader": sling_id == "a",
        "is_local": sling_id == "a",
        "is_trusted": True,
        "join_number": 1,
        "properties": {"name": sling_id},
    }
    return snapshot.InstanceDescription(sling_id=sling_id, **(facts | changes))


def topology(*instances, epoch=1, remote=()):
    clusters = [snapshot.ClusterView("c1", instances)]
    if remote:
        clusters.append(snapshot.ClusterView("c2", tuple(remote)))
    return snapshot.TopologyView(is_current=True, epoch=epoch, clusters=tuple(clusters), local_id="a")


ONE = topology(instance("a"), instance("b"))


@pytest.mark.parametrize(
    ("other", "change"),
    [
        (ONE, None),
        (ONE.outdated(), None),
        (topology(instance("b"), instance("a")), None),
        (topology(instance("a"), instance("b"), epoch=2), TopologyChange.TOPOLOGY),
        (topology(instance("a")), TopologyChange.TOPOLOGY),
        (topology(instance("a"), instance("b"), remote=[instance("r", cluster_id="c2")]), TopologyChange.TOPOLOGY),
        (topology(instance("a"), instance("other")), TopologyChange.TOPOLOGY),
        (topology(instance("a"), instance("b", cluster_id="c9")), TopologyChange.TOPOLOGY),
        (topology(instance("a", is_leader=False), instance("b", is_leader=True)), TopologyChange.TOPOLOGY),
        (topology(instance("a"), instance("b", properties={})), TopologyChange.PROPERTIES),
        (topology(instance("a"), instance("b", is_trusted=False)), TopologyChange.PROPERTIES),
    ],
)
def test_compare_tells_what_kind_of_change_it_is(other, change):
    assert snapshot.compare(ONE, other) is change


def test_view_finds_instances_and_their_clusters():
    view = topology(instance("a"), remote=[instance("r", cluster_id="c2")])
    assert view.local.sling_id == "a"
    assert view.get("r").cluster_id == "c2"
    assert view.cluster_of("r").id == "c2"
    assert view.is_local_member("a")
    assert not view.is_local_member("r")
    assert (view.get("x"), view.cluster_of("x"), view.is_local_member("x")) == (None, None, False)
    assert len({*view.instances}) == 2


@pytest.mark.parametrize(
    ("properties", "endpoint", "label"),
    [
        ({snapshot.ENDPOINTS: "http://host:4502/, http://other/"}, "http://host:4502/", "host:4502"),
        ({}, "", "a"),
    ],
)
def test_instance_is_named_by_its_first_endpoint(properties, endpoint, label):
    found = instance("a", properties=properties)
    assert (found.endpoint, found.label, found.name) == (endpoint, label, label)
