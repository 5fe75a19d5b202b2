import pytest

from tests.topology.test_events import GROWN, RENAMED, STABLE
from topology import listeners, signals
from topology.events import EventType, ViewState


@pytest.fixture
def heard(monkeypatch):
    monkeypatch.setattr(listeners, "_callbacks", {})
    # Apps above this one listen as well, and write to the database; here nobody does.
    monkeypatch.setattr(signals.topology_changed, "receivers", [])
    return []


@pytest.fixture
def delivery():
    return listeners.Delivery()


def events(*views):
    state = ViewState()
    return [event for view in views for event in state.advance(view)]


def test_listener_that_fails_keeps_nobody_from_hearing(heard, delivery, caplog):
    def fail(event):
        raise RuntimeError("broken")

    listeners.register("broken", fail)
    listeners.register("sound", heard.append)
    for event in events(STABLE, GROWN):
        delivery.tell_all(event)
    assert [event.type for event in heard] == [EventType.INIT, EventType.CHANGING, EventType.CHANGED]
    assert {record.listener for record in caplog.records} == {"broken"}


def test_first_event_of_a_late_listener_is_init(heard, delivery):
    init, changing, changed = events(STABLE, GROWN)
    delivery.tell_all(init)
    listeners.register("late", heard.append)
    delivery.tell_all(changing)
    assert heard == []
    delivery.tell_all(changed)
    assert [(event.type, event.old_view, event.new_view) for event in heard] == [(EventType.INIT, None, GROWN)]


def test_late_listener_is_introduced_without_waiting_for_a_change(heard, delivery):
    delivery.tell_all(events(STABLE)[0])
    early = []
    listeners.register("early", early.append)
    delivery.start()
    delivery.introduce(STABLE)
    delivery.stop(timeout=5)
    assert [event.type for event in early] == [EventType.INIT]


def test_nobody_is_introduced_twice(heard, delivery):
    listeners.register("one", heard.append)
    delivery.tell_all(events(STABLE)[0])
    delivery.introduce(STABLE)
    assert delivery._events.empty()


def test_unregistered_listener_hears_nothing(heard, delivery):
    listeners.register("gone", heard.append)
    listeners.unregister("gone")
    delivery.tell_all(events(STABLE)[0])
    assert heard == []


def test_events_are_delivered_in_order_before_the_thread_ends(heard, delivery):
    listeners.register("one", heard.append)
    delivery.start()
    for event in events(STABLE, RENAMED, GROWN):
        delivery.deliver(event)
    delivery.stop(timeout=5)
    assert [event.type for event in heard] == ["INIT", "PROPERTIES_CHANGED", "CHANGING", "CHANGED"]


def test_signal_follows_and_its_receivers_are_isolated_too(heard, delivery, caplog):
    def fail(sender, event, **kwargs):
        raise RuntimeError("broken")

    def hear(sender, event, **kwargs):
        heard.append(event)

    signals.topology_changed.connect(fail)
    signals.topology_changed.connect(hear)
    try:
        delivery.tell_all(events(STABLE)[0])
    finally:
        signals.topology_changed.disconnect(fail)
        signals.topology_changed.disconnect(hear)
    assert [event.type for event in heard] == [EventType.INIT]
    assert "topology signal receiver failed" in caplog.text
