"""A real instance in a topology of one; its work is done in this process: claim, execute, outcome, as a worker does."""

import uuid

import pytest

from content import services as content
from offloading.jobs import execution, testing
from offloading.models import Job
from tests.workflow import steps
from topology import identity
from topology import services as topology
from workflow import catalog, definition, processes

MODEL = "/etc/workflow/models/test/jcr:content/model"
PAYLOAD = "/content/photo"


class Instance:
    """This instance, and its worker."""

    def __init__(self):
        self.sling_id = identity.sling_id()

    def claim(self):
        """Claim the next job, whatever delay it waits for; None if there is none."""
        Job.objects.filter(state="QUEUED").update(not_before=None)
        return testing.claim_next(run_id=identity.runtime_id(), label="here:1")

    def work(self, limit=20):
        """Run jobs until none is left, at most `limit`; return how many ran."""
        for count in range(limit):
            claim = self.claim()
            if claim is None:
                return count
            execution.run(claim)
        return limit


@pytest.fixture
def instance(db, settings):
    settings.OFFLOADING_RUNTIME_ID = str(uuid.uuid4())
    topology.join(settings.OFFLOADING_RUNTIME_ID)
    topology.establish_view()
    return Instance()


@pytest.fixture
def payload(db):
    content.ensure_folder(path="/content", by="test")
    content.create_node(path=PAYLOAD, primary_type="nt:unstructured", by="test")
    return PAYLOAD


@pytest.fixture
def install(db):
    """Install a model of the given steps and return its path."""

    def install(*given, path=MODEL):
        catalog.install_model(path=path, title="Test model", steps=given)
        return path

    return install


@pytest.fixture
def process():
    """Register something as a process for the length of the test and return a step that runs it."""
    stack = []

    def register(act, name="test.process", title="Step", **arguments):
        temporary = processes.process_steps.register_temporarily(name, steps.Acting(act))
        temporary.__enter__()
        stack.append(temporary)
        return definition.process_step(title, name, **arguments)

    yield register
    for temporary in reversed(stack):
        temporary.__exit__(None, None, None)


@pytest.fixture
def external():
    """Register an external process for the length of the test and return a step that runs it."""
    stack = []

    def register(external_process, name="test.external", title="Elsewhere", **arguments):
        temporary = processes.external_steps.register_temporarily(name, external_process)
        temporary.__enter__()
        stack.append(temporary)
        return definition.external_step(title, name, **arguments)

    yield register
    for temporary in reversed(stack):
        temporary.__exit__(None, None, None)
