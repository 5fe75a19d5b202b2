"""Switching topics: what it does to the lists, to waiting jobs, and to an instance that is somewhere else."""

import pytest

from offloading import capabilities, exceptions, services
from offloading.jobs import distribution, manager
from offloading.models import Job, SwitchCommand, TopicSettings
from tests.offloading import topologies
from topology import identity

pytestmark = pytest.mark.django_db
TOPIC, OTHER = "test/services", "test/other"


@pytest.fixture
def local():
    return topologies.establish("second", topics=f"{TOPIC},{OTHER}")


def switch(sling_id, **actions):
    names = {"topic": TOPIC, "other": OTHER}
    return services.configure_instance(
        sling_id=sling_id, actions={names[name]: action for name, action in actions.items()}, by="ann"
    )


def rows(topic=TOPIC):
    (block,) = [block for block in services.topic_table() if block.topic == topic]
    return [(row.instance.sling_id, row.is_enabled, row.reason) for row in block.rows]


def test_table_shows_enabled_instances_first_and_why_others_are_not(local):
    switch(local, topic="disable")
    switch("second", other="exclusive")
    assert set(rows()) == {(local, False, "blacklisted"), ("second", False, "not in whitelist")}
    switch("second", topic="enable")
    assert rows() == [("second", True, ""), (local, False, "blacklisted")]
    assert rows(OTHER)[0][1:] == (True, "")


def test_switch_is_in_force_at_once_and_says_who_made_it(local):
    assert switch(local, topic="disable") is None
    assert TopicSettings.objects.get(sling_id=local).changed_by == "ann"
    assert manager.add_job(TOPIC).target == manager.add_job(TOPIC).target == "second"


def test_disabling_moves_waiting_jobs_and_enabling_one_is_enough(local):
    jobs = [manager.add_job(TOPIC) for _ in range(4)]
    switch("second", topic="disable")
    assert set(Job.objects.values_list("target", flat=True)) == {local}
    switch(local, topic="disable")
    assert set(Job.objects.values_list("target", flat=True)) == {""}
    switch("second", topic="enable")
    assert set(Job.objects.values_list("target", flat=True)) == {"second"}
    assert len(jobs) == Job.objects.count()


def test_exclusive_takes_everything_else_away(local):
    switch(local, topic="exclusive")
    assert capabilities.of_view(services.topology.current_view())[local].announced == (TOPIC,)


def test_unknown_instance_topic_and_action_are_refused(local):
    with pytest.raises(exceptions.InstanceUnknown):
        switch("nobody", topic="disable")
    with pytest.raises(exceptions.SwitchInvalid, match="it has: test/other, test/services"):
        services.configure_instance(sling_id=local, actions={"test/unknown": "disable"}, by="ann")
    with pytest.raises(exceptions.SwitchInvalid, match="enable, disable, exclusive"):
        switch(local, topic="toggle")
    assert TopicSettings.objects.count() == 0


def test_instance_of_another_cluster_is_asked_and_pending_until_it_shows(local, monkeypatch):
    told = {distribution.CONSUMER_TOPICS: TOPIC, distribution.REGISTERED_TOPICS: TOPIC}
    wider = topologies.view([local], ["far"], local=local, **told)
    monkeypatch.setattr(services.topology, "current_view", lambda: wider)
    command = switch("far", topic="disable")
    assert SwitchCommand.objects.get() == command
    assert (command.actions, command.requested_by) == ({TOPIC: "disable"}, "ann")
    pending = {row.instance.sling_id: row.pending for block in services.topic_table() for row in block.rows}
    assert pending["far"] == command
    assert rows()[0][1]


def test_instance_announces_what_its_lists_let_through(settings):
    sling_id = identity.sling_id()
    before = capabilities.announce(sling_id)
    assert before[distribution.CONSUMER_TOPICS] == before[distribution.REGISTERED_TOPICS] != ""
    topic = before[distribution.CONSUMER_TOPICS].split(",")[0]
    TopicSettings.objects.create(sling_id=sling_id, whitelist=["*"], blacklist=[topic])
    after = capabilities.announce(sling_id)
    assert topic not in after[distribution.CONSUMER_TOPICS].split(",")
    assert (after[distribution.WHITELIST], after[distribution.BLACKLIST]) == ("*", topic)


def test_black_list_of_everything_takes_the_announcement_away():
    sling_id = identity.sling_id()
    TopicSettings.objects.create(sling_id=sling_id, whitelist=["*"], blacklist=["*"])
    assert distribution.CONSUMER_TOPICS not in capabilities.announce(sling_id)
