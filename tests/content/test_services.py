import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from content import blobs, models, paths, services, signals, values

pytestmark = pytest.mark.django_db

Tree = services.Tree


@pytest.fixture
def content():
    services.create_node(path="/content", primary_type="sling:Folder", by="test")


@pytest.fixture
def asset(content):
    digest = blobs.store([b"picture"]).digest
    original = Tree("nt:file", {}, {"jcr:data": digest})
    renditions = Tree("nt:folder", children={"original": original})
    inner = Tree("dam:AssetContent", {"title": "A"}, children={"renditions": renditions})
    services.create_tree(path="/content/a.jpg", tree=Tree("dam:Asset", children={"jcr:content": inner}), by="test")
    return digest


def queries(work):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        work()
    return len(captured)


# --- create ---


def test_a_created_node_can_be_read(content, events):
    made = services.create_node(
        path="/content/cafe\u0301", primary_type="nt:unstructured", properties={"a": 1, "b": None}, by="ann"
    )
    assert made == services.get("/content/café")
    assert (made.name, made.properties, made.revision) == ("café", {"a": 1}, 1)
    assert events == [signals.NodeEvent("added", "/content/café", "nt:unstructured", ("a",), "ann", "")]


def test_a_node_is_not_created_over_another(content):
    with pytest.raises(services.NodeExists, match="/content"):
        services.create_node(path="/content", primary_type="t", by="test")


def test_a_node_is_not_created_without_its_parent():
    with pytest.raises(services.ParentMissing, match="Create /content/dam first"):
        services.create_node(path="/content/dam/x", primary_type="t", by="test")


def test_the_root_is_no_node():
    assert services.get("/") is None
    with pytest.raises(paths.PathInvalid):
        services.create_node(path="/", primary_type="t", by="test")


def test_a_node_is_not_created_without_its_bytes(content):
    with pytest.raises(blobs.BlobMissing):
        services.create_node(path="/content/x", primary_type="t", binaries={"jcr:data": "0" * 64}, by="test")
    assert services.get("/content/x") is None


def test_receivers_see_the_whole_subtree_at_the_first_signal(content):
    seen = []

    def receive(event, **kwargs):
        seen.append((event.path, len(services.read_subtree("/content/a"))))

    signals.node_changed.connect(receive)
    try:
        tree = Tree("t", children={"b": Tree("t", children={"c": Tree("t")})})
        services.create_tree(path="/content/a", tree=tree, by="test")
    finally:
        signals.node_changed.disconnect(receive)
    assert seen == [("/content/a", 3), ("/content/a/b", 3), ("/content/a/b/c", 3)]


def test_an_exception_in_a_receiver_undoes_the_change(content):
    def refuse(event, **kwargs):
        raise ArithmeticError

    signals.node_changed.connect(refuse)
    try:
        with pytest.raises(ArithmeticError):
            services.create_node(path="/content/x", primary_type="t", by="test")
    finally:
        signals.node_changed.disconnect(refuse)
    assert services.get("/content/x") is None


def test_a_folder_is_made_with_those_above_it_and_once(content, events):
    folder = services.ensure_folder(path="/content/dam/2024", by="ann")
    assert folder == services.ensure_folder(path="/content/dam/2024", primary_type="other", by="ann")
    assert [(event.path, event.primary_type) for event in events] == [
        ("/content/dam", "sling:Folder"),
        ("/content/dam/2024", "sling:Folder"),
    ]


def test_a_name_that_would_lead_elsewhere_is_refused_in_a_tree(content):
    with pytest.raises(paths.PathInvalid):
        services.create_tree(path="/content/x", tree=Tree("t", children={"../y": Tree("t")}), by="test")


@pytest.mark.parametrize("given", [{"a": "\0"}, {"a": float("nan")}])
def test_properties_that_cannot_be_stored_are_refused_before_the_database(content, given):
    with pytest.raises(values.PropertyInvalid):
        services.set_properties(path="/content", properties=given, by="test")
    assert services.get("/content").revision == 1


# --- set properties ---


def test_only_what_is_given_changes(asset, events):
    other = blobs.store([b"other"]).digest
    original = "/content/a.jpg/jcr:content/renditions/original"
    services.set_properties(path=original, properties={"a": 1, "b": [1]}, by="ann", user_data="mine")
    after = services.set_properties(path=original, properties={"a": None}, binaries={"jcr:data": other}, by="ann")
    assert after.properties == {"b": [1]}
    assert after.binaries == {"jcr:data": services.BinaryRef(other, 5)}
    assert after.revision == 3
    assert [(event.kind, event.property_names, event.user_data) for event in events] == [
        ("changed", ("a", "b"), "mine"),
        ("changed", ("a", "jcr:data"), ""),
    ]


def test_a_binary_given_as_none_is_removed(asset):
    original = "/content/a.jpg/jcr:content/renditions/original"
    assert services.set_properties(path=original, binaries={"jcr:data": None}, by="test").binaries == {}


def test_setting_what_is_set_already_is_no_change(asset, events):
    original = "/content/a.jpg/jcr:content/renditions/original"
    before = services.get(original)
    after = services.set_properties(
        path=original, properties={"gone": None}, binaries={"jcr:data": asset}, primary_type="nt:file", by="test"
    )
    assert (after, events) == (before, [])


def test_true_and_one_are_different_values(content):
    services.set_properties(path="/content", properties={"a": 1}, by="test")
    assert services.set_properties(path="/content", properties={"a": True}, by="test").properties["a"] is True


def test_the_type_can_change(content, events):
    services.set_properties(path="/content", primary_type="sling:OrderedFolder", by="test")
    assert services.get("/content").primary_type == "sling:OrderedFolder"
    assert events[0].property_names == ("jcr:primaryType",)


def test_a_change_based_on_an_old_reading_is_refused(content):
    services.set_properties(path="/content", properties={"a": 1}, expected_revision=1, by="ann")
    with pytest.raises(services.RevisionConflict, match="revision 2, not 1"):
        services.set_properties(path="/content", properties={"a": 2}, expected_revision=1, by="ben")
    assert services.get("/content").properties == {"a": 1}


def test_a_missing_node_cannot_be_changed():
    with pytest.raises(services.NodeMissing, match="/content"):
        services.set_properties(path="/content", properties={"a": 1}, by="test")


# --- move, copy, remove ---


def test_a_subtree_moves_as_a_whole(asset, events):
    services.ensure_folder(path="/content/sub/é", by="test")
    events.clear()
    moved = services.move_node(path="/content/a.jpg", destination="/content/sub/é/b.jpg", by="ann")
    assert (moved.path, moved.name) == ("/content/sub/é/b.jpg", "b.jpg")
    assert [view.path for view in services.read_subtree("/content")] == [
        "/content",
        "/content/sub",
        "/content/sub/é",
        "/content/sub/é/b.jpg",
        "/content/sub/é/b.jpg/jcr:content",
        "/content/sub/é/b.jpg/jcr:content/renditions",
        "/content/sub/é/b.jpg/jcr:content/renditions/original",
    ]
    assert [view.path for view in services.children("/content/sub/é")] == ["/content/sub/é/b.jpg"]
    for node in models.Node.objects.all():
        assert node.depth == paths.depth(node.path)
    assert events == [
        signals.NodeEvent("moved", "/content/sub/é/b.jpg", "dam:Asset", (), "ann", "", old_path="/content/a.jpg")
    ]


def test_a_node_can_move_to_the_first_level_and_back(asset):
    services.move_node(path="/content/a.jpg", destination="/a.jpg", by="test")
    assert [view.path for view in services.children("/")] == ["/a.jpg", "/content"]
    services.move_node(path="/a.jpg", destination="/content/a.jpg", by="test")
    assert len(services.read_subtree("/content/a.jpg")) == 4


@pytest.mark.parametrize(
    ("destination", "error"),
    [
        ("/content/a.jpg", services.NodeExists),
        ("/content", services.NodeExists),
        ("/content/a.jpg/jcr:content/x", paths.PathInvalid),
        ("/none/x", services.ParentMissing),
        ("/", paths.PathInvalid),
        ("/content/" + "n" * 256, paths.PathInvalid),
    ],
)
def test_a_move_that_makes_no_sense_changes_nothing(asset, destination, error):
    before = services.read_subtree("/")
    with pytest.raises(error):
        services.move_node(path="/content/a.jpg", destination=destination, by="test")
    assert services.read_subtree("/") == before


def test_a_move_may_not_push_a_descendant_over_the_limits(content):
    deep = "/content" + "/a" * 62
    services.ensure_folder(path=deep, by="test")
    services.ensure_folder(path="/content/x/y", by="test")
    with pytest.raises(paths.PathInvalid, match="65 levels"):
        services.move_node(path="/content/a", destination="/content/x/y/a", by="test")


def test_a_copy_shares_the_bytes(asset, events):
    services.copy_node(path="/content/a.jpg", destination="/content/b.jpg", by="ann")
    original = services.get("/content/b.jpg/jcr:content/renditions/original")
    assert original.binaries["jcr:data"].digest == asset
    assert services.get("/content/b.jpg/jcr:content").properties == {"title": "A"}
    assert len(services.read_subtree("/content/a.jpg")) == 4
    assert [event.kind for event in events] == ["added"] * 4


@pytest.mark.parametrize("change", [services.move_node, services.copy_node])
def test_what_is_not_there_cannot_be_moved_or_copied(content, change):
    with pytest.raises(services.NodeMissing):
        change(path="/content/none", destination="/content/x", by="test")


def test_a_removed_subtree_is_gone_and_its_neighbours_stay(asset, events):
    services.create_node(path="/content/a.jpg2", primary_type="t", by="test")
    events.clear()
    services.remove_node(path="/content/a.jpg", by="ann")
    assert [view.path for view in services.read_subtree("/content")] == ["/content", "/content/a.jpg2"]
    assert not models.Binary.objects.exists()
    assert events == [signals.NodeEvent("removed", "/content/a.jpg", "dam:Asset", (), "ann", "")]
    with pytest.raises(services.NodeMissing):
        services.remove_node(path="/content/a.jpg", by="ann")


# --- reading ---


def test_subtrees_come_parents_first_and_each_together(content):
    for name in ["b", "b/c", "b-c", "a"]:
        services.create_node(path=f"/content/{name}", primary_type="t", by="test")
    assert [view.path for view in services.read_subtree("/content")] == [
        "/content",
        "/content/a",
        "/content/b",
        "/content/b/c",
        "/content/b-c",
    ]


@pytest.mark.parametrize("count", [3, 300])
def test_reading_takes_two_queries_whatever_the_number_of_nodes(content, count, django_assert_num_queries):
    digest = blobs.store([b"x"]).digest
    tree = Tree("t", children={f"n{number}": Tree("t", {}, {"jcr:data": digest}) for number in range(count)})
    services.create_tree(path="/content/x", tree=tree, by="test")
    with django_assert_num_queries(2):
        assert len(services.read_subtree("/content/x")) == count + 1
    with django_assert_num_queries(2):
        assert len(services.children("/content/x")) == count
    with django_assert_num_queries(2):
        assert services.get("/content/x/n1").binaries["jcr:data"].digest == digest


@pytest.mark.parametrize(
    "change",
    [
        lambda name: services.copy_node(path=f"/content/{name}", destination="/content/copy", by="test"),
        lambda name: services.move_node(path=f"/content/{name}", destination="/content/moved", by="test"),
        lambda name: services.remove_node(path=f"/content/{name}", by="test"),
    ],
    ids=["copy", "move", "remove"],
)
def test_changing_a_subtree_takes_as_many_queries_for_3_nodes_as_for_80(content, change):
    taken = []
    for name, count in (("small", 3), ("large", 80)):
        tree = Tree("t", children={f"n{number}": Tree("t") for number in range(count)})
        services.create_tree(path=f"/content/{name}", tree=tree, by="test")
        with transaction.atomic():
            taken.append(queries(lambda name=name: change(name)))
            transaction.set_rollback(True)
    assert taken[0] == taken[1]
