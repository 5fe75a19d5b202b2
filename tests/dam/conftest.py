"""A library whose assets are processed in this process: claim, consumer and outcome are the real ones."""

from io import BytesIO

import pytest

from content import services
from dam import ingestion, structure
from offloading.jobs import testing
from tests.dam import pictures


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

    def fill(self, count, state):
        """Bring the library to `count` text assets; processed ones never had a workflow, so they cost little."""
        launcher = "/libs/settings/workflow/launcher/config/update_asset_create"
        is_processed = state == structure.AssetState.PROCESSED
        services.set_properties(path=launcher, properties={"enabled": not is_processed}, by="ann")
        for number in range(len(services.children(self.root)), count):
            asset = self.upload(f"{number}.txt", b"x")
            if is_processed:
                ingestion.set_state(path=asset, state=structure.AssetState.PROCESSED, by="ann")

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


@pytest.fixture
def library(db):
    return Library()
