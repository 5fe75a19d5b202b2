"""A library whose assets are processed in this process: claim, consumer and outcome are the real ones."""

import uuid
from io import BytesIO

import pytest

from content import services
from content.models import Node
from dam import ingestion, structure
from offloading.jobs import testing
from offloading.models import Job
from tests.dam import pictures
from workflow.models import Workflow


class Library:
    """The asset library as tests use it."""

    root = structure.ROOT

    def upload(self, name="photo.jpg", data=None, folder=structure.ROOT):
        """Upload a file and return the path of its asset; nothing processes it yet."""
        stream = BytesIO(pictures.jpeg() if data is None else data)
        return ingestion.create_asset(folder=folder, name=name, stream=stream, by="ann")

    def work(self):
        """Run every job that waits; return how many ran."""
        return testing.run_waiting()

    def fill(self, count):
        """Bring the library to `count` assets, by copying the rows of the one that is there, its work included."""
        first = next(view.path for view in services.children(self.root))
        nodes = list(Node.objects.subtree(first))
        workflows = list(Workflow.objects.filter(payload=structure.original(first), is_offloaded=False))
        jobs = Job.objects.in_bulk([workflow.job_id for workflow in workflows])
        for number in range(len(services.children(self.root)), count):
            path = f"{self.root}/{number}.txt"
            Node.objects.bulk_create(renewed(node, path=node.path.replace(first, path, 1)) for node in nodes)
            for workflow in workflows:
                job = renewed(jobs[workflow.job_id], id=uuid.uuid4())
                job.save(force_insert=True)
                copy = renewed(workflow, id=uuid.uuid4(), job_id=job.id, payload=structure.original(path))
                copy.save(force_insert=True)

    def state(self, asset):
        return services.get(structure.content(asset)).properties[structure.STATE]

    def failure(self, asset):
        return services.get(structure.content(asset)).properties.get(structure.FAILURE)

    def metadata(self, asset):
        return services.get(structure.metadata(asset)).properties

    def renditions(self, asset):
        return {node.name for node in services.children(structure.renditions(asset))}

    def original(self, asset):
        return services.get(structure.resource(structure.original(asset))).binaries[structure.DATA]


def renewed(row, **changes):
    """Return an unsaved copy of a row."""
    values = {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key
    }
    return type(row)(**values | changes)


@pytest.fixture
def library(db):
    return Library()
