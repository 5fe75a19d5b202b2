import pytest
from django.db import IntegrityError, connection, transaction

from content import models, services

pytestmark = pytest.mark.django_db

PATHS = ["/a", "/a/b", "/a/b/c", "/a-b", "/a0", "/a%", "/a_b", "/A", "/A/b", "/a/é", "/a/\U0001f600"]


@pytest.fixture
def some_nodes():
    for path in PATHS:
        services.create_node(path=path, primary_type="t", by="test")


@pytest.mark.parametrize(
    ("root", "below"),
    [
        ("/", PATHS),
        ("/a", ["/a/b", "/a/b/c", "/a/é", "/a/\U0001f600"]),
        ("/A", ["/A/b"]),
        ("/a%", []),
        ("/a_b", []),
        ("/none", []),
    ],
)
def test_below_finds_the_subtree_and_nothing_beside_it(some_nodes, root, below):
    found = models.Node.objects.below(root).values_list("path", flat=True)
    assert sorted(found) == sorted(below)


def test_a_subtree_has_its_root_and_several_can_be_read_at_once(some_nodes):
    found = models.Node.objects.subtree("/a/b", "/A", "/a0").values_list("path", flat=True)
    assert sorted(found) == ["/A", "/A/b", "/a/b", "/a/b/c", "/a0"]


def test_reading_a_subtree_uses_the_index(some_nodes):
    query = models.Node.objects.subtree("/a").order_by()
    with transaction.atomic():
        if connection.vendor == "postgresql":
            connection.cursor().execute("SET LOCAL enable_seqscan = off")
        plan = query.explain()
    assert "index" in plan.lower()
    assert "seq scan" not in plan.lower() and "scan content_node" not in plan.lower()


def test_no_child_can_be_left_without_its_parent(some_nodes):
    with pytest.raises(IntegrityError), transaction.atomic():
        models.Node.objects.filter(path="/a").delete()
        connection.check_constraints()
