import json
import string

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from content import blobs, bundles, paths, services

pytestmark = pytest.mark.django_db

TEXTS = [b"one", b"two", b"three"]
ROOT = "/var/offloading/0191"


@pytest.fixture
def refs():
    """Return references to bytes that are in the store."""
    stored = [blobs.store([text]) for text in TEXTS]
    return [{"digest": blob.digest, "size": blob.size} for blob in stored]


def entry(path, primary_type="t", properties=None, binaries=None):
    return {"path": path, "primary_type": primary_type, "properties": properties or {}, "binaries": binaries or {}}


def states(root=""):
    return bundles.describe(["/x"], root)


def test_a_subtree_is_described_as_json_and_made_of_it_again(refs):
    entries = [entry("/x", "dam:Asset"), entry("/x/é", "nt:file", {"a": [1, {"b": True}]}, {"jcr:data": refs[0]})]
    bundles.import_entries(json.loads(json.dumps(entries)), ROOT, by="peer")
    assert states(ROOT) == json.loads(json.dumps(states(ROOT))) == entries
    assert bundles.digests(entries) == {refs[0]["digest"]: 3}
    assert services.get("/x") is None
    assert services.get(ROOT).primary_type == "nt:unstructured"


def test_describing_what_is_not_there_is_an_error():
    services.create_node(path="/x", primary_type="t", by="test")
    with pytest.raises(services.NodeMissing, match="/y"):
        bundles.describe(["/x", "/y"])


def test_overlapping_paths_are_described_once():
    services.ensure_folder(path="/x/y", by="test")
    assert [found["path"] for found in bundles.describe(["/x/y", "/x"])] == ["/x", "/x/y"]


@pytest.mark.parametrize("count", [3, 300])
def test_describing_takes_two_queries_whatever_the_number_of_nodes(count, django_assert_num_queries):
    tree = services.Tree("t", children={f"n{number}": services.Tree("t") for number in range(count)})
    services.create_tree(path="/x", tree=tree, by="test")
    services.create_tree(path="/y", tree=tree, by="test")
    with django_assert_num_queries(2):
        assert len(bundles.describe(["/x", "/y"])) == 2 * count + 2


def test_an_import_brings_to_exactly_that_state(refs, events):
    old = [entry("/x", "t", {"gone": 1, "kept": 1}, {"gone": refs[0]}), entry("/x/gone"), entry("/x/gone/too")]
    new = [entry("/x", "u", {"kept": 1}, {"jcr:data": refs[1]}), entry("/x/new")]
    bundles.import_entries(old, ROOT, by="peer")
    bundles.import_entries(new, ROOT, by="peer")
    assert states(ROOT) == new
    events.clear()
    bundles.import_entries(new, ROOT, by="peer")
    assert (states(ROOT), events) == (new, [])


def test_an_import_lacking_bytes_names_them_and_does_nothing(refs):
    lacking = {"digest": "0" * 64, "size": 1}
    with pytest.raises(blobs.BlobMissing) as caught:
        bundles.import_entries([entry("/x", binaries={"a": refs[0], "b": lacking})], ROOT, by="peer")
    assert caught.value.digests == ["0" * 64]
    assert services.read_subtree("/") == []


@pytest.mark.parametrize(
    "entries",
    [
        [{}],
        ["text"],
        [None],
        [entry("/")],
        [entry("x")],
        [entry("/../etc")],
        [entry("/x"), entry("/x")],
        [entry("/x"), entry("/x/y/z")],
        [entry("/x", primary_type="")],
        [entry("/x", primary_type=None)],
        [entry("/x", properties={"a": "\0"})],
        [entry("/x", properties=[1])],
        [entry("/x", binaries={"a": "digest"})],
        [entry("/x", binaries={"a": {"digest": "../x", "size": 1}})],
        [entry("/x", binaries={"a": {"digest": "0" * 64}})],
        [entry("/x", binaries={"a": {"digest": "0" * 64, "size": -1}})],
        [entry("/x", binaries={"a": {"digest": "0" * 64, "size": "many"}})],
    ],
)
def test_what_is_no_manifest_is_refused(entries):
    with pytest.raises(bundles.ManifestInvalid):
        bundles.import_entries(entries, ROOT, by="peer")
    with pytest.raises(bundles.ManifestInvalid):
        bundles.changes([], entries)


def test_every_kind_of_change_is_told(refs):
    before = [
        entry("/x", "t", {"a": 1, "b": 1}, {"f": refs[0], "g": refs[0]}),
        entry("/x/gone"),
        entry("/x/gone/too"),
    ]
    after = [entry("/x", "u", {"a": True}, {"f": refs[1]}), entry("/x/new", "t", {"n": 1})]
    kinds = bundles.ChangeKind
    assert bundles.changes(before, after) == [
        bundles.Change(kinds.BINARY_REMOVED, "/x", "g"),
        bundles.Change(kinds.BINARY_SET, "/x", "f", refs[1]),
        bundles.Change(kinds.PROPERTY_REMOVED, "/x", "b"),
        bundles.Change(kinds.PROPERTY_SET, "/x", "a", True),
        bundles.Change(kinds.TYPE_SET, "/x", value="u"),
        bundles.Change(kinds.REMOVED, "/x/gone"),
        bundles.Change(kinds.CREATED, "/x/new", value=after[1]),
    ]


def test_a_result_about_other_paths_removes_nothing():
    assert bundles.changes([entry("/x"), entry("/x/y")], []) == []
    kinds = [change.kind for change in bundles.changes([entry("/x/in")], [entry("/x/out")])]
    assert kinds == ["created"]


def test_what_others_changed_meanwhile_stays(refs):
    sent = [entry("/x", "t", {"a": 1, "b": 1}), entry("/x/old")]
    bundles.import_entries(sent, by="test")
    returned = [entry("/x", "t", {"a": 2, "b": 1}), entry("/x/thumbnail", "nt:file", {}, {"jcr:data": refs[0]})]
    services.set_properties(path="/x", properties={"b": 2, "c": 1}, by="editor")
    services.create_node(path="/x/comment", primary_type="t", by="editor")
    services.create_node(path="/x/thumbnail", primary_type="t", properties={"theirs": 1}, by="editor")
    services.remove_node(path="/x/old", by="editor")
    bundles.apply_changes(bundles.changes(sent, returned), by="worker")
    assert states() == [
        entry("/x", "t", {"a": 2, "b": 2, "c": 1}),
        entry("/x/comment"),
        entry("/x/thumbnail", "nt:file", {"theirs": 1}, {"jcr:data": refs[0]}),
    ]


@pytest.mark.parametrize("returned", [[entry("/x", "t", {"a": 1})], [entry("/x"), entry("/x/new")]])
def test_a_result_for_a_removed_node_is_not_applied(returned):
    with pytest.raises(services.NodeMissing):
        bundles.apply_changes(bundles.changes([entry("/x")], returned), by="worker")
    assert services.read_subtree("/") == []


# --- for any two states ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.sampled_from(["", "é", "'%_"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["a", "b", "jcr:data"])
STATE = st.tuples(
    st.sampled_from(["t", "u"]),
    st.dictionaries(NAMES, VALUES.filter(lambda value: value is not None), max_size=3),
    st.dictionaries(NAMES, st.integers(0, len(TEXTS) - 1), max_size=2),
)
TREE = st.recursive(
    st.tuples(STATE, st.just({})),
    lambda child: st.tuples(STATE, st.dictionaries(st.sampled_from(string.ascii_lowercase[:4]), child, max_size=3)),
    max_leaves=6,
)


def flatten(tree, refs, path="/x"):
    (primary_type, properties, binaries), children = tree
    found = [entry(path, primary_type, properties, {name: refs[number] for name, number in sorted(binaries.items())})]
    for name, child in sorted(children.items()):
        found += flatten(child, refs, paths.join(path, name))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=TREE, second=TREE, root=st.sampled_from(["", ROOT]))
def test_applying_what_changed_from_one_state_to_another_makes_the_other(refs, first, second, root):
    before, after = flatten(first, refs), flatten(second, refs)
    with transaction.atomic():
        bundles.import_entries(before, root, by="test")
        assert bundles.changes(states(root), before) == []
        bundles.apply_changes(bundles.changes(before, after), root=root, by="test")
        assert bundles.changes(states(root), after) == []
        assert len(states(root)) == len(after)
        transaction.set_rollback(True)


@given(tree=TREE)
def test_nothing_changes_between_equal_states(tree):
    entries = flatten(tree, [{"digest": str(number) * 64, "size": 1} for number in range(3)])
    assert bundles.changes(entries, json.loads(json.dumps(entries))) == []
