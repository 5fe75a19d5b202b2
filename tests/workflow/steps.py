"""Processes for tests: what they do is given by the test."""

from offloading.jobs import manager
from workflow import offload, processes


class Acting(processes.WorkflowProcess):
    """Does what the test says."""

    def __init__(self, act):
        self._act = act

    def execute(self, item, session, args):
        self._act(item, session, args)


class Elsewhere(processes.WorkflowExternalProcess):
    """Something that goes on outside, with an answer that the test sets."""

    def __init__(self, external_id="42"):
        self.external_id = external_id
        self.answer = False
        self.started = 0
        self.asked = 0
        self.results = []
        self.abandoned = []

    def execute(self, item, session, args):
        self.started += 1
        return self.external_id

    def has_finished(self, external_id, item, session, args):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def handle_result(self, external_id, item, session, args):
        self.results.append(external_id)
        session.put(f"{item.payload}/result", "nt:unstructured", {"from": external_id})

    def abandon(self, external_id, item, args):
        self.abandoned.append(external_id)


class Offload(offload.WorkflowOffloadingProcess):
    """Offloads, and notes the result that it is given."""

    def handle_result(self, external_id, item, session, args):
        job = manager.get_job(external_id)
        session.put(f"{item.payload}/offloaded", "nt:unstructured", {"job": external_id, "state": job.state})


def write(name, **properties):
    """Return an act that writes a node below the payload."""

    def act(item, session, args):
        session.put(f"{item.payload}/{name}", "nt:unstructured", properties or {"by": item.node.title})

    return act
