"""django-q2's two brokers of ours: the end of a slot's queue in its pusher, and the one in the dispatcher.

No task is ever stored here: what a message names is a row of ours, and if the message gets lost the row brings it back.
So nothing needs to be acknowledged, counted or purged.
"""

import os

from django_q import brokers

from offloading.jobs import link
from topology import identity


class DispatcherBroker(brokers.Broker):  # type: ignore[misc]  # django-q2 has no types
    """What settings.Q_CLUSTER names: used by the processes of a slot, and refuses to be a queue for anybody else."""

    slot = ""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._line: link.Line | None = None

    def enqueue(self, task: str) -> None:
        raise NotImplementedError("django-q2 only executes here. Use offloading.jobs.manager.add_job.")

    def dequeue(self) -> list[tuple[str, str]]:
        """Wait for tasks from the dispatcher. Ends the process, and by that the slot, when the dispatcher is gone."""
        if self._line is None:
            self._line = link.connect(identity.sling_id(), role=link.PUSHER, slot=self.slot)
        messages = self._line.receive()
        if messages is None:
            # An exception would have django-q2 sleep for ten seconds before it ends the process itself.
            os._exit(1)
        return [(message["task_id"], message["task"]) for message in messages]


class SlotBroker(brokers.Broker):  # type: ignore[misc]  # django-q2 has no types
    """The dispatcher's end: what `async_task` enqueues goes to one slot, at once."""

    def __init__(self, line: link.Line) -> None:
        super().__init__("slot")
        self._line = line

    def enqueue(self, task: str) -> str:
        self._line.send({"task_id": "slot", "task": task})
        return "slot"
