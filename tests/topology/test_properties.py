import pytest
from django.db import OperationalError

from topology import properties, snapshot


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    monkeypatch.setattr(properties, "_registrations", [])
    monkeypatch.setattr(properties, "_failing", set())


def provider(**values):
    return lambda sling_id: values


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [("org.apache.sling", True), ("-", True), ("_", True), ("", False), ("a b", False), ("a\n", False), ("ä", False)],
)
def test_names_are_ascii_words(name, is_valid):
    assert properties.is_valid_name(name) is is_valid


def test_wrong_name_is_refused_at_registration():
    with pytest.raises(ValueError, match="'a b'"):
        properties.register(["good", "a b"], provider())


def test_higher_ranking_wins_and_on_equal_ranking_the_earlier_one():
    properties.register(["x", "y"], provider(x="first", y="first"))
    properties.register(["x", "y"], provider(x="second", y="second"))
    properties.register(["y"], provider(y="strong"), ranking=10)
    assert properties.collect("id") == {"x": "first", "y": "strong"}


def test_only_declared_names_are_told_and_missing_ones_left_out():
    properties.register(["declared", "missing"], provider(declared="1", undeclared="2"))
    assert properties.collect("id") == {"declared": "1"}


def test_failing_provider_is_logged_once_and_the_others_are_asked(caplog):
    def fail(sling_id):
        raise RuntimeError("broken")

    properties.register(["broken"], fail)
    properties.register(["sound"], provider(sound="1"))
    assert properties.collect("id") == properties.collect("id") == {"sound": "1"}
    assert [record.message for record in caplog.records] == ["property provider failed"]


def test_unreachable_database_is_the_callers_affair():
    def fail(sling_id):
        raise OperationalError("gone")

    properties.register(["topics"], fail)
    with pytest.raises(OperationalError):
        properties.collect("id")


def test_unregistered_provider_is_not_asked():
    one = provider(x="1")
    properties.register(["x"], one)
    properties.unregister(one)
    assert properties.collect("id") == {}


def test_standard_properties_have_the_names_of_sling(settings):
    settings.OFFLOADING_ENDPOINT = "http://host:4502/"
    assert properties.standard("id") == {
        "org.apache.sling.instance.name": "Instance id",
        "org.apache.sling.instance.description": "Instance with id id",
        "org.apache.sling.instance.endpoints": "http://host:4502/",
        "com.adobe.granite.offloading.infrastructure.osgiconsole.path": "/system/console",
    }
    assert set(properties.standard("id")) == set(properties.STANDARD_NAMES)
    assert snapshot.NAME in properties.STANDARD_NAMES
