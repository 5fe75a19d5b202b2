import pytest

from topology import checks

GOOD = "http://127.0.0.1:4502/libs/sling/topology/connector"


@pytest.mark.parametrize(
    ("urls", "entries", "ids"),
    [
        ([GOOD], ["localhost", "10.0.0.0/8"], []),
        (["127.0.0.1:4502"], [], ["topology.E001"]),
        (["http:///connector"], [], ["topology.E001"]),
        ([f"{GOOD}?x=1"], [], ["topology.E001"]),
        ([], ["10.0.0.0/99"], ["topology.W001"]),
    ],
)
def test_settings_that_cannot_work_are_told_at_the_start(settings, urls, entries, ids):
    settings.OFFLOADING_CONNECTOR_URLS = urls
    settings.OFFLOADING_CONNECTOR_WHITELIST = entries
    assert [message.id for message in checks.connector_settings(None)] == ids
