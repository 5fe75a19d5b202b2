from datetime import timedelta

import pytest
from django.db.models import F

from tests.topology.conftest import RUN
from topology import services
from topology.connectors import registry
from topology.connectors.announcement import AnnouncedInstance, Announcement
from topology.models import Announcement as Row

pytestmark = pytest.mark.django_db


def cluster(*sling_ids, nested=(), **properties):
    instances = tuple(AnnouncedInstance(each, each == sling_ids[0], properties) for each in sling_ids)
    return Announcement(sling_ids[0], f"cluster-{sling_ids[0]}", instances, tuple(nested))


def register(told, *, receiver="me", inherited=False, is_trusted=True, url=""):
    return registry.register(told, receiver=receiver, inherited=inherited, is_trusted=is_trusted, connector_url=url)


def age(seconds, **which):
    Row.objects.filter(**which).update(last_ping_at=F("last_ping_at") - timedelta(seconds=seconds))


def owners():
    return [entry.announcement.owner_id for entry in registry.registered()]


def test_announcement_counts_until_it_is_too_old():
    assert register(cluster("b1")) == 0
    age(19)
    assert owners() == ["b1"]
    age(2)
    assert owners() == []
    registry.remove_expired()
    assert not Row.objects.exists()


def test_same_knowledge_again_only_makes_it_younger():
    register(cluster("b1"))
    row = Row.objects.get()
    age(15)
    assert register(cluster("b1")) == 0
    again = Row.objects.get()
    assert (again.pk, again.first_ping_at) == (row.pk, row.first_ping_at)
    assert again.last_ping_at >= row.last_ping_at


@pytest.mark.parametrize(
    "change",
    [{"told": cluster("b1", name="new")}, {"is_trusted": False}, {"inherited": True}],
    ids=["other knowledge", "other trust", "other direction"],
)
def test_news_replaces_what_was_told_before(change):
    register(cluster("b1"))
    before = Row.objects.get().pk
    facts = {"told": cluster("b1")} | change
    assert register(facts.pop("told"), **facts) == 0
    assert Row.objects.get().pk != before


def test_instance_that_another_announcement_has_is_a_duplicate():
    register(cluster("b1", "b2"))
    assert register(cluster("b2", "b1")) == registry.REFUSED
    assert owners() == ["b1"]


def test_duplicate_is_welcome_once_the_other_way_has_expired():
    register(cluster("b1", "b2"))
    age(30)
    assert register(cluster("b2")) == 0
    assert owners() == ["b2"]


def test_every_receiver_has_a_registry_of_its_own():
    register(cluster("b1", "b2"), receiver="me")
    assert register(cluster("b2", "b1"), receiver="my neighbour") == 0
    assert owners() == ["b1", "b2"]


@pytest.mark.parametrize(
    "told",
    [
        Announcement("b1", is_loop=True),
        Announcement("b1", "c"),
        Announcement("b1", "c", (AnnouncedInstance("b1", True, {}),), protocol_version=2),
    ],
    ids=["loop", "owner not in its cluster", "other version"],
)
def test_what_is_no_knowledge_is_not_kept(told):
    assert register(told) == registry.REFUSED
    assert not Row.objects.exists()


def test_taken_back_is_gone():
    register(cluster("b1"))
    registry.unregister(receiver="me", owner_id="b1")
    registry.unregister(receiver="me", owner_id="b1")
    assert owners() == []


def test_direction_is_kept_for_those_we_tell_it_to():
    register(cluster("b1"), inherited=True)
    assert registry.registered()[0].announcement.is_inherited


@pytest.mark.parametrize(("backoff", "seconds"), [(-1, 20), (0, 20), (5, 20), (30, 45)])
def test_patience_that_was_asked_for_makes_it_count_longer(backoff, seconds):
    assert registry.effective_timeout(backoff) == timedelta(seconds=seconds)


def test_clearing_up_at_a_start_keeps_what_still_counts():
    register(cluster("b1"), inherited=True, url="http://configured/")
    register(cluster("c1"), inherited=True, url="http://configured-no-more/")
    register(cluster("d1"))
    register(cluster("e1"))
    age(30, owner_id="e1")
    registry.remove_stale(receiver="me", connector_urls=["http://configured/"])
    assert sorted(row.owner_id for row in Row.objects.all()) == ["b1", "d1"]


def test_announced_clusters_are_part_of_the_view_while_their_receiver_is(sling_id):
    services.join(RUN)
    services.establish_view()
    far = cluster("c1")
    register(cluster("b1", "b2", nested=[far], name="x"), receiver=sling_id, is_trusted=True)
    register(cluster("z1"), receiver="a member no more")
    view = services.current_view()
    assert [each.id for each in view.clusters] == [view.local_cluster.id, "cluster-b1", "cluster-c1"]
    assert view.get("b2").join_number == 2
    assert view.get("b1").is_leader
    assert view.get("b1").is_trusted
    assert not view.get("b1").is_local
    assert view.get("b1").properties == {"name": "x"}


def test_nobody_can_stand_for_an_instance_of_this_cluster(sling_id):
    services.join(RUN)
    services.establish_view()
    register(cluster("b1", sling_id, name="forged"), receiver=sling_id)
    view = services.current_view()
    assert "name" not in view.local.properties
    assert view.is_local_member(sling_id)
    assert [instance.sling_id for instance in view.clusters[1].instances] == ["b1"]


def test_only_announcements_that_proved_the_key_are_trusted(sling_id):
    services.join(RUN)
    services.establish_view()
    register(cluster("b1"), receiver=sling_id, is_trusted=False)
    assert not services.current_view().get("b1").is_trusted
