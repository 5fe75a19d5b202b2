"""What transport does when the topology changes, and what it tells the topology: keys, agents, switches, quick returns.

Registered by `connect` from the app's `ready`; the callbacks run in the agent's process.
"""

from offloading.jobs import signals
from offloading.transport import agents, keys, returns, switches, transfers
from topology import listeners, properties, snapshot, wakeup
from topology.events import EventType, TopologyEvent


def connect() -> None:
    """Register with the topology and the job engine."""
    properties.register((keys.PROPERTY,), keys.announce)
    listeners.register("transport", on_topology)
    signals.jobs_changed.connect(returns.on_jobs_changed, dispatch_uid="transport-returns")


def on_topology(event: TopologyEvent) -> None:
    """Take over what a new view tells."""
    if event.type == EventType.CHANGING or event.new_view is None:
        return
    view = event.new_view
    keys.learn_all(view)
    switches.confirm(view)
    if view.local.is_leader:
        agents.follow(view)
    if transfers.hurry(peers=_newly_reachable(event.old_view, view)):
        wakeup.notify("transport")


def _newly_reachable(old: snapshot.TopologyView | None, new: snapshot.TopologyView) -> list[str]:
    """Return the instances that were not there before, or somewhere else."""
    before = {each.sling_id: each.endpoint for each in old.instances} if old else {}
    return [each.sling_id for each in new.instances if before.get(each.sling_id) != each.endpoint]
