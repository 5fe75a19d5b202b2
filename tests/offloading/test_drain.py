"""Draining an instance: it finishes what it runs, takes nothing more, and its lists are as before afterwards."""

import html
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from offloading import capabilities, exceptions, services
from offloading.jobs import distribution, manager
from offloading.models import Job, JobState, TopicSettings
from tests.offloading import topologies
from tests.offloading.foreign import Foreign
from topology.models import Instance

pytestmark = pytest.mark.django_db
TOPIC = "test/drain"


@pytest.fixture
def local():
    return topologies.establish("second", topics=TOPIC)


def add(count, target, state=JobState.QUEUED):
    ids = [manager.add_job(TOPIC).id for _ in range(count)]
    Job.objects.filter(id__in=ids).update(target=target, state=state)


def count(target):
    return Job.objects.filter(target=target).count()


def page(client, sling_id, **headers):
    return html.unescape(client.get(f"/offloading/instances/{sling_id}/", headers=headers).content.decode())


def press(client, sling_id, action, **headers):
    return client.post(f"/offloading/instances/{sling_id}/drain/", {"action": action}, headers=headers)


# --- The service --------------------------------------------------------------------------------------------------


def test_waiting_jobs_move_at_once_and_new_ones_go_elsewhere(local):
    add(4, "second")
    assert services.drain_instance(sling_id="second", by="ann")
    assert count(local) == 4
    for _ in range(4):
        manager.add_job(TOPIC)
    assert (count(local), count("second")) == (8, 0)


def test_running_jobs_stay(local):
    add(2, "second", JobState.ACTIVE)
    services.drain_instance(sling_id="second", by="ann")
    assert count("second") == 2


def test_jobs_wait_for_the_end_of_the_drain_where_nobody_else_takes_them(local):
    topologies.announce(local, "other")
    add(1, "second")
    services.drain_instance(sling_id="second", by="ann")
    assert count("") == 1
    reasons = {each.sling_id: each.text for each in manager.explain(Job.objects.get())}
    assert reasons["second"] == "draining"
    assert services.undrain_instance(sling_id="second", by="ann")
    assert count("second") == 1


def test_lists_are_as_before_after_a_drain(local):
    services.configure_instance(sling_id=local, actions={TOPIC: "exclusive"}, by="ann")
    services.drain_instance(sling_id=local, by="ann")
    services.undrain_instance(sling_id=local, by="ann")
    assert TopicSettings.objects.get(sling_id=local).whitelist == [TOPIC]


def test_drain_is_announced(local):
    services.drain_instance(sling_id=local, by="ann")
    told = capabilities.announce(local)
    assert (told[distribution.DRAINING], told[distribution.CONSUMER_TOPICS]) == ("true", "")
    assert told[distribution.REGISTERED_TOPICS]
    services.undrain_instance(sling_id=local, by="ann")
    assert distribution.DRAINING not in capabilities.announce(local)


def test_slots_and_both_names_of_the_lists_are_announced(local, settings):
    settings.OFFLOADING_WORKERS = 7
    told = capabilities.announce(local)
    assert told[distribution.SLOTS] == "7"
    assert told[distribution.ALLOWLIST] == told[distribution.WHITELIST] == "*"
    assert told[distribution.DENYLIST] == told[distribution.BLACKLIST] == ""
    assert set(told) <= set(capabilities.PROPERTY_NAMES)


def test_twice_is_harmless(local):
    assert services.drain_instance(sling_id=local, by="ann")
    assert not services.drain_instance(sling_id=local, by="ben")
    assert [row.changed_by for row in services.draining()] == ["ann"]


def test_instance_that_is_down_can_be_drained(local):
    Instance.objects.filter(sling_id="second").update(heartbeat_at=None)
    assert services.drain_instance(sling_id="second", by="ann")


def test_instance_of_nobody_cannot(local):
    with pytest.raises(exceptions.InstanceUnknown, match="No instance nobody belongs to this installation"):
        services.drain_instance(sling_id="nobody", by="ann")
    assert not TopicSettings.objects.exists()


# --- The screens --------------------------------------------------------------------------------------------------


def test_button_drains_and_takes_jobs_again(staff_client, local):
    assert "Takes jobs" in page(staff_client, local)
    press(staff_client, local, "drain")
    assert TopicSettings.objects.get(sling_id=local).is_draining
    assert "it can be stopped" in page(staff_client, local)
    press(staff_client, local, "undrain")
    assert "Drained" not in page(staff_client, local)


def test_screen_says_what_is_left(staff_client, local):
    add(3, local, JobState.ACTIVE)
    press(staff_client, local, "drain")
    shown = page(staff_client, local)
    assert "finishes those that it runs" in shown
    assert "it can be stopped" not in shown
    assert "<strong>3</strong>" in shown


def test_answer_to_htmx_is_the_panel_with_a_way_back(staff_client, local):
    answer = press(staff_client, local, "drain", hx_request="true")
    assert "<html" not in answer.content.decode()
    assert "Take jobs again" in answer.content.decode()
    assert "action=undrain" in answer.headers["HX-Trigger"]
    assert page(staff_client, local, hx_request="true").strip().startswith("<section")


def test_unknown_action_is_refused(staff_client, local):
    assert press(staff_client, local, "explode", hx_request="true").status_code == 422
    assert not TopicSettings.objects.exists()


def test_readers_and_gets_are_refused(reader_client, staff_client, local):
    assert press(reader_client, local, "drain").status_code == 403
    assert "disabled" in page(reader_client, local)
    assert staff_client.get(f"/offloading/instances/{local}/drain/").status_code == 405
    assert press(staff_client, "nobody", "drain").status_code == 404
    assert not TopicSettings.objects.exists()


def test_topics_keep_their_choices_while_draining(staff_client, local):
    press(staff_client, local, "drain")
    assert f'name="config:{TOPIC}" value="enable" checked' in page(staff_client, local)
    browser = html.unescape(staff_client.get("/offloading/").content.decode())
    assert "Draining" in browser
    assert "finishes what it runs and takes nothing more" in browser


def test_disabling_the_only_one_that_is_not_draining_is_warned_of(staff_client, local):
    press(staff_client, local, "drain")
    assert "The only one: new jobs would wait" in html.unescape(staff_client.get("/offloading/").content.decode())


def test_instance_of_another_installation_is_drained_over_there(staff_client, local):
    foreign = Foreign(topics=(TOPIC,))
    foreign.announce()
    assert "it is drained there" in page(staff_client, foreign.sling_id)
    assert press(staff_client, foreign.sling_id, "drain", hx_request="true").status_code == 422


# --- The command --------------------------------------------------------------------------------------------------


def test_command_drains_this_instance_or_a_named_one(local, capsys):
    call_command("jobs", "drain")
    call_command("jobs", "drain", "second", "--by", "ann")
    call_command("jobs", "undrain", local)
    assert capsys.readouterr().out.splitlines() == [
        f"{local} takes no more jobs and finishes those that it runs.",
        "second takes no more jobs and finishes those that it runs.",
        f"{local} takes jobs again.",
    ]
    assert [row.sling_id for row in services.draining()] == ["second"]


def test_command_says_where_nothing_was_to_be_done(local, capsys):
    call_command("jobs", "undrain")
    call_command("jobs", "drain")
    call_command("jobs", "drain")
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[2]) == (f"{local} was not draining.", f"{local} drains already.")


def test_command_lists_who_is_draining(local, capsys):
    call_command("jobs", "draining")
    services.drain_instance(sling_id="second", by="ann")
    call_command("jobs", "draining")
    call_command("jobs", "draining", "--json")
    told = capsys.readouterr().out
    assert told.startswith("No instance is draining.\n")
    assert json.loads(told[told.index("[") :])[0] | {"changed_at": ""} == {
        "sling_id": "second",
        "changed_at": "",
        "changed_by": "ann",
    }


def test_command_refuses_an_instance_that_is_not_ours(local):
    with pytest.raises(CommandError, match="No instance nobody"):
        call_command("jobs", "drain", "nobody")
