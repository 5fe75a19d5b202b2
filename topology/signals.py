"""What this app tells upwards."""

from django.dispatch import Signal

# Sent in the agent's process, after the listeners, with `event`: topology.events.TopologyEvent.
topology_changed = Signal()
