"""News about the tree. Sent inside the transaction of the change: what a receiver writes is part of the change.

An exception in a receiver undoes the change. What is to be said to the outside belongs in `transaction.on_commit`.
"""

from dataclasses import dataclass
from typing import Literal

from django.dispatch import Signal

EventKind = Literal["added", "changed", "removed", "moved"]


@dataclass(frozen=True)
class NodeEvent:
    """One change. A created or copied subtree tells of every node, a removed or moved one of its root alone.

    `property_names` are the properties and binaries that were set or removed. `user_data` is whatever the author of
    the change said about it: whoever reacts to events by changing nodes recognises its own changes by it.
    """

    kind: EventKind
    path: str
    primary_type: str
    property_names: tuple[str, ...]
    by: str
    user_data: str
    old_path: str = ""


# Receivers get `event`, a NodeEvent.
node_changed = Signal()
