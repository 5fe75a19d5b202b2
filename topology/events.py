"""What listeners are told about the topology, and in which order. Pure; `listeners` delivers it.

The order is that of Sling's discovery API: INIT first, CHANGING at once when something moves, CHANGED when it has
settled, PROPERTIES_CHANGED alone when only properties differ.
"""

import enum
from dataclasses import dataclass

from topology import snapshot


class EventType(enum.StrEnum):
    INIT = "INIT"
    CHANGING = "CHANGING"
    CHANGED = "CHANGED"
    PROPERTIES_CHANGED = "PROPERTIES_CHANGED"


@dataclass(frozen=True)
class TopologyEvent:
    """`old_view` is missing in INIT, `new_view` in CHANGING; an old view is never current, a new one always."""

    type: EventType
    old_view: snapshot.TopologyView | None
    new_view: snapshot.TopologyView | None


class ViewState:
    """Turns the views that are seen, one after the other, into the events that follow from them."""

    def __init__(self) -> None:
        self.settled: snapshot.TopologyView | None = None
        self.is_changing = False

    def advance(self, view: snapshot.TopologyView) -> list[TopologyEvent]:
        """Return the events that `view` causes after all the views before it."""
        former = self.settled
        if not view.is_current:
            return self._changing(former)
        if former is None:
            self.settled = view
            return [TopologyEvent(EventType.INIT, None, view)]
        change = snapshot.compare(former, view)
        if change is None and not self.is_changing:
            return []
        if change is snapshot.TopologyChange.PROPERTIES and not self.is_changing:
            self.settled = view
            return [TopologyEvent(EventType.PROPERTIES_CHANGED, former.outdated(), view)]
        events = self._changing(former)
        self.settled, self.is_changing = view, False
        return [*events, TopologyEvent(EventType.CHANGED, former.outdated(), view)]

    def _changing(self, former: snapshot.TopologyView | None) -> list[TopologyEvent]:
        if former is None or self.is_changing:
            return []
        self.is_changing = True
        return [TopologyEvent(EventType.CHANGING, former.outdated(), None)]
