import pytest

from content import blobs, services, session

pytestmark = pytest.mark.django_db


def test_a_node_lives_from_creation_to_removal():
    services.create_node(path="/content", primary_type="sling:Folder", by="t")
    d = blobs.store([b"abc"]).digest
    s = session.Session(by="t")
    s.put("/content/a/b", "nt:file", {"x": 1}, {"jcr:data": d})
    assert [v.path for v in s.subtree("/content")] == ["/content", "/content/a", "/content/a/b"]
    s.save()
    assert services.get("/content/a/b").binaries["jcr:data"].size == 3
    services.move_node(path="/content/a", destination="/content/c", by="t")
    services.copy_node(path="/content/c", destination="/content/d", by="t")
    assert [v.path for v in services.read_subtree("/content/d")] == ["/content/d", "/content/d/b"]
    services.remove_node(path="/content", by="t")
    assert services.read_subtree("/") == []
