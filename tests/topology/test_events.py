from tests.topology.test_snapshot import instance, topology
from topology.events import EventType, ViewState

STABLE = topology(instance("a"), instance("b"))
GROWN = topology(instance("a"), instance("b"), instance("c"), epoch=2)
RENAMED = topology(instance("a"), instance("b", properties={"name": "new"}))


def told(*views):
    state = ViewState()
    return [event for view in views for event in state.advance(view)]


def types(*views):
    return [event.type for event in told(*views)]


def test_nothing_is_told_before_the_first_current_view():
    assert types(STABLE.outdated(), STABLE.outdated()) == []
    assert types(STABLE.outdated(), STABLE) == [EventType.INIT]


def test_equal_view_is_no_event():
    assert types(STABLE, STABLE, STABLE) == [EventType.INIT]


def test_change_is_announced_before_it_is_told():
    init, changing, changed = told(STABLE, GROWN)
    assert (init.old_view, init.new_view) == (None, STABLE)
    assert (changing.type, changing.old_view, changing.new_view) == (EventType.CHANGING, STABLE.outdated(), None)
    assert (changed.type, changed.old_view, changed.new_view) == (EventType.CHANGED, STABLE.outdated(), GROWN)


def test_changing_comes_once_and_always_ends_in_changed():
    outdated = STABLE.outdated()
    assert types(STABLE, outdated, outdated, STABLE) == [EventType.INIT, EventType.CHANGING, EventType.CHANGED]


def test_changed_properties_alone_need_no_changing():
    event = told(STABLE, RENAMED)[-1]
    assert event.type is EventType.PROPERTIES_CHANGED
    assert not event.old_view.is_current
    assert event.new_view == RENAMED


def test_changed_properties_while_changing_are_told_as_changed():
    assert types(STABLE, STABLE.outdated(), RENAMED)[-1] is EventType.CHANGED
