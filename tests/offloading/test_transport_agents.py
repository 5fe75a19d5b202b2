"""Replication agents follow the topology by themselves."""

import pytest

from content import services as content
from offloading.models import Transfer
from offloading.transport import agents, keys, news
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish
from topology import services as topology
from topology.events import EventType, TopologyEvent

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()


def told(kind=EventType.CHANGED, old=None):
    view = topology.current_view()
    news.on_topology(TopologyEvent(kind, old, view))
    return view


def page(foreign):
    return content.get(f"/etc/replication/agents.author/offloading_{foreign.sling_id}/jcr:content")


def test_agent_appears_with_the_names_of_the_talk_and_only_for_other_clusters():
    foreign = Foreign()
    foreign.announce()
    told(EventType.INIT)
    told(EventType.INIT)
    assert [node.name for node in content.children(agents.FOLDER)] == [f"offloading_{foreign.sling_id}"]
    properties = page(foreign).properties
    assert properties["transportUri"] == "http://127.0.0.1:4512/bin/receive"
    assert (properties["enabled"], properties["protocolHTTPMethod"]) == (True, "POST")
    assert (properties["serializationType"], properties["triggerSpecific"]) == ("Default", True)
    assert keys.accepted(foreign.sling_id)


def test_agent_follows_the_endpoint_and_keeps_what_people_set():
    foreign = Foreign()
    foreign.announce()
    told()
    content.set_properties(
        path=f"{agents.agent_path(foreign.sling_id)}/jcr:content", properties={"logLevel": "debug"}, by="ann"
    )
    foreign.endpoint = "http://10.0.0.9:4512/"
    foreign.announce()
    told(EventType.PROPERTIES_CHANGED)
    properties = page(foreign).properties
    assert properties["transportUri"] == "http://10.0.0.9:4512/bin/receive"
    assert properties["logLevel"] == "debug"


def test_agent_goes_with_its_instance_unless_somebody_switched_it_off():
    gone, off = Foreign(), Foreign(endpoint="http://127.0.0.1:4513/")
    gone.announce()
    off.announce()
    told()
    content.set_properties(
        path=f"{agents.agent_path(off.sling_id)}/jcr:content", properties={"enabled": False}, by="ann"
    )
    assert agents.paused() == {off.sling_id}
    gone.leave()
    off.leave()
    told()
    assert page(gone) is None
    assert page(off).properties["enabled"] is False


def test_changing_topology_changes_no_agents():
    Foreign().announce()
    news.on_topology(TopologyEvent(EventType.CHANGING, topology.current_view(), None))
    assert content.get(agents.FOLDER) is None


def test_what_waits_for_a_peer_that_comes_back_is_tried_at_once():
    from django.db.models.functions import Now

    from offloading.jobs import manager
    from offloading.transport import transfers

    foreign = Foreign()
    old = topology.current_view()
    foreign.announce()
    job = manager.add_job(TOPIC)
    Transfer.objects.create(
        job=job, fence=1, peer=foreign.sling_id, direction="OUT", is_sender=True, next_try_at=transfers.in_seconds(60)
    )
    assert Transfer.objects.filter(next_try_at__gt=Now()).exists()
    view = told(old=old)
    assert Transfer.objects.get().next_try_at is None
    Transfer.objects.update(next_try_at=transfers.in_seconds(60))
    news.on_topology(TopologyEvent(EventType.PROPERTIES_CHANGED, view, view))
    assert Transfer.objects.get().next_try_at is not None
