import pytest

from topology import identity

RUN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    """A home of its own for each test, and so an instance of its own."""
    settings.OFFLOADING_HOME = tmp_path / "home"
    settings.OFFLOADING_RUNTIME_ID = RUN
    settings.OFFLOADING_CONNECTOR_URLS = []
    return settings.OFFLOADING_HOME


@pytest.fixture
def sling_id(home):
    return identity.sling_id()
