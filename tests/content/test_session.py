import pytest
from django.db import transaction

from content import blobs, models, paths, services, session, signals

pytestmark = pytest.mark.django_db

ROOT = "/var/offloading/0191"


@pytest.fixture(params=["", ROOT])
def work(request):
    """Return a session over the whole tree or over a part of it: to its user they are alike."""
    return session.Session(request.param, by="worker", user_data="mine")


def outline(views):
    return [view.path for view in views]


def test_nothing_is_written_before_it_is_saved(work, events):
    assert not work.has_changes
    work.put("/a/b", "t", {"x": 1})
    assert work.has_changes
    assert not models.Node.objects.exists()
    work.save()
    assert not work.has_changes
    assert outline(work.subtree("/a")) == ["/a", "/a/b"]
    assert {(event.kind, event.by, event.user_data) for event in events} == {("added", "worker", "mine")}


def test_reads_see_what_was_written_but_not_saved(work):
    digest = work.store([b"bytes"])
    work.put("/a/b", "t", {"x": 1, "y": None}, {"jcr:data": digest})
    work.put("/a/c", "t")
    assert work.get("/a").primary_type == "nt:unstructured"
    assert work.get("/a/b").properties == {"x": 1}
    assert outline(work.children("/a")) == ["/a/b", "/a/c"]
    assert outline(work.subtree("/a")) == ["/a", "/a/b", "/a/c"]
    with work.open("/a/b") as file:
        assert file.read() == work.file_path("/a/b").read_bytes() == b"bytes"
    work.remove("/a/b")
    assert work.get("/a/b") is None
    assert outline(work.subtree("/a")) == ["/a", "/a/c"]


def test_putting_twice_adds_to_the_node(work):
    first, second = work.store([b"1"]), work.store([b"2"])
    work.put("/a", "t", {"x": 1, "y": 1}, {"one": first, "two": first})
    work.save()
    work.put("/a", "u", {"x": None, "z": 2}, {"one": None, "two": second})
    work.save()
    view = work.get("/a")
    assert (view.primary_type, view.properties) == ("u", {"y": 1, "z": 2})
    assert {name: ref.digest for name, ref in view.binaries.items()} == {"two": second}


def test_what_was_removed_can_be_put_anew(work, events):
    work.put("/a/old", "t", {"x": 1})
    work.save()
    events.clear()
    work.remove("/a")
    work.put("/a/new", "t")
    assert outline(work.subtree("/a")) == outline(work.children("/")) + ["/a/new"] == ["/a", "/a/new"]
    assert work.get("/a").properties == {}
    work.save()
    assert outline(work.subtree("/a")) == ["/a", "/a/new"]
    assert [event.kind for event in events] == ["removed", "added", "added"]


def test_a_node_made_and_removed_in_one_session_never_was(work, events):
    work.put("/a", "t")
    work.remove("/a")
    work.save()
    assert not [event for event in events if event.path.endswith("/a")]


def test_removing_a_parent_takes_earlier_removals_with_it(work, events):
    work.put("/a/b/c", "t")
    work.save()
    events.clear()
    work.remove("/a/b")
    work.remove("/a")
    work.save()
    assert [event.kind for event in events] == ["removed"]
    assert work.subtree("/a") == []


def test_a_created_subtree_is_created_as_a_whole(work):
    seen = []
    signals.node_changed.connect(receive := lambda event, **kwargs: seen.append(models.Node.objects.count()))
    work.put("/a/b/c", "t")
    work.put("/a", "t")
    work.save()
    assert receive and set(seen) == {models.Node.objects.count()}


def test_only_what_the_session_changed_is_written(work):
    work.put("/a", "t", {"mine": 1, "theirs": 1, "same": 1})
    work.save()
    stored = models.Node.objects.get(name="a").path
    work.set_properties("/a", {"mine": 2, "same": 1})
    services.set_properties(path=stored, properties={"theirs": 2, "same": 3}, by="other")
    work.save()
    assert work.get("/a").properties == {"mine": 2, "theirs": 2, "same": 3}


def test_a_node_removed_meanwhile_is_not_brought_back(work):
    work.put("/a/b", "t")
    work.save()
    work.set_properties("/a/b", {"x": 1})
    work.put("/a/new", "t")
    services.remove_node(path=models.Node.objects.get(name="b").path, by="other")
    with pytest.raises(services.NodeMissing):
        work.save()
    assert outline(services.children(models.Node.objects.get(name="a").path)) == []
    assert work.has_changes


def test_nodes_that_others_created_meanwhile_are_shared(work):
    other = session.Session(work._root, by="other")
    for each in (work, other):
        each.put("/a/shared", "t", {each._by: 1})
        each.put(f"/a/{each._by}", "t")
    other.save()
    work.save()
    assert outline(work.subtree("/a")) == ["/a", "/a/other", "/a/shared", "/a/worker"]
    assert work.get("/a/shared").properties == {"other": 1, "worker": 1}


def test_what_is_missing_is_said(work):
    for change in (work.remove, work.set_properties, work.open, work.file_path):
        with pytest.raises(services.NodeMissing):
            change("/none")
    work.put("/a", "t")
    with pytest.raises(session.BinaryMissing, match="jcr:data"):
        work.open("/a")
    with pytest.raises(blobs.BlobMissing):
        work.put("/a", "t", {}, {"jcr:data": "0" * 64})


def test_a_session_changes_no_view_it_gave_away(work):
    work.put("/a", "t", {"x": 1})
    work.get("/a").properties["x"] = 2
    assert work.get("/a").properties == {"x": 1}


def test_the_root_of_a_session_is_no_node_to_write_to(work):
    with pytest.raises(paths.PathInvalid):
        work.put("/", "t")


def test_a_root_hides_everything_else():
    services.create_node(path="/secret", primary_type="t", by="test")
    work = session.Session(ROOT, by="worker")
    assert work.get("/secret") is None
    assert work.subtree("/") == []
    work.put("/secret", "t", {"x": 1})
    work.save()
    assert services.get("/secret").properties == {}
    assert services.get(ROOT + "/secret").properties == {"x": 1}
    work.remove("/")
    work.save()
    assert services.get(ROOT) is None


@pytest.mark.parametrize("path", ["/../secret", "secret", "/a/../../secret"])
def test_no_path_leads_out_of_the_root(path):
    with pytest.raises(paths.PathInvalid):
        session.Session(ROOT, by="worker").get(path)


@pytest.mark.django_db(transaction=True)
def test_bytes_removed_as_somebody_elses_before_the_save_are_stored_again():
    work = session.Session(by="worker")
    digest = work.store([b"equal bytes"])
    work.put("/a", "t", {}, {"jcr:data": digest})
    blobs.remove_unreferenced([digest])
    assert blobs.missing([digest]) == [digest]
    work.save()
    with work.open("/a") as file:
        assert file.read() == b"equal bytes"


def test_a_save_is_part_of_the_transaction_around_it(work):
    work.put("/a", "t")
    with transaction.atomic():
        work.save()
        transaction.set_rollback(True)
    assert work.get("/a") is None
