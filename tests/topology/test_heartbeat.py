import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from tests.topology.conftest import RUN
from tests.topology.test_services import other_instance, silence
from topology import heartbeat, listeners, services, signals
from topology.models import Instance, View

pytestmark = pytest.mark.django_db


@pytest.fixture
def heart(settings, monkeypatch):
    # Due with every beat, so that nothing has to wait for it.
    settings.OFFLOADING_HEARTBEAT_SECONDS = 0
    monkeypatch.setattr(listeners, "_callbacks", {})
    monkeypatch.setattr(signals.topology_changed, "receivers", [])
    return heartbeat.Heart()


def events(heart):
    found = []
    while not heart.delivery._events.empty():
        found.append(heart.delivery._events.get().type)
    return found


def test_first_beat_joins_settles_the_view_and_tells(heart, sling_id):
    heart.beat()
    assert services.current_view().is_current
    assert events(heart) == ["INIT"]
    heart.beat()
    assert events(heart) == []


def test_join_made_before_is_kept(heart, sling_id):
    number = services.join(RUN, "/tmp/address")
    heart.beat()
    heart.beat()
    assert Instance.objects.get().join_number == number


def test_newcomer_is_told_as_a_change(heart, sling_id):
    heart.beat()
    other_instance()
    heart.beat()
    assert events(heart) == ["INIT", "CHANGING", "CHANGED"]


def test_changed_property_is_told(heart, sling_id, settings):
    heart.beat()
    settings.OFFLOADING_NAME = "new name"
    heart.beat()
    assert events(heart) == ["INIT", "PROPERTIES_CHANGED"]


def test_too_late_heart_joins_again_at_the_end_of_the_queue(heart, sling_id):
    heart.beat()
    other_instance()
    heart.beat()
    number = Instance.objects.get(sling_id=sling_id).join_number
    silence(sling_id)
    heart.beat()
    view = services.current_view()
    assert view.local.join_number > number
    assert view.local_cluster.leader.sling_id == "other"
    assert events(heart)[-2:] == ["CHANGING", "CHANGED"]


def test_return_keeps_the_address_for_wakeups(heart, sling_id):
    services.join(RUN, "/tmp/address")
    silence(sling_id)
    heart.beat()
    assert Instance.objects.get().wakeup_address == "/tmp/address"


def test_instance_that_others_dropped_joins_again(heart, sling_id, caplog):
    other = other_instance()
    heart.beat()
    number = Instance.objects.get(sling_id=sling_id).join_number
    View.objects.create(
        epoch=2, cluster_id="c", leader="other", members=[{"sling_id": "other", "join_number": other.join_number}]
    )
    # The beat of the instance itself would take it back in; the others' view holds when it looks.
    heart._return_if_dropped(services.latest_view())
    assert Instance.objects.get(sling_id=sling_id).join_number > number
    assert "dropped from the view, joining again" in caplog.text


def test_replaced_run_stays_out_and_says_so_once(heart, sling_id, caplog):
    heart.beat()
    Instance.objects.update(runtime_id="another run", home="elsewhere:/home", endpoint="http://other/")
    heart.beat()
    heart.beat()
    assert Instance.objects.get().runtime_id == "another run"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["not in the cluster"]
    Instance.objects.update(heartbeat_at=Now() - timedelta(seconds=60))
    heart.beat()
    assert Instance.objects.get().runtime_id == RUN


def test_process_that_is_no_agent_can_beat_once(sling_id):
    heartbeat.beat()
    assert services.current_view().is_current


@pytest.mark.django_db(transaction=True)
def test_loop_keeps_the_instance_in_until_it_shall_end(settings, monkeypatch, sling_id):
    settings.OFFLOADING_HEARTBEAT_SECONDS = 0.05
    monkeypatch.setattr(signals.topology_changed, "receivers", [])
    heard, stop = threading.Event(), threading.Event()
    monkeypatch.setattr(listeners, "_callbacks", {"test": lambda event: heard.set()})
    thread = threading.Thread(target=heartbeat.run, args=(stop,))
    thread.start()
    try:
        assert heard.wait(10)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    assert set(services.live_run_ids()) == {RUN}
