"""Changes that cannot both be true, made at the same moment: one of them wins, and the tree stays a tree."""

import pytest

from content import models, paths, services

ROUNDS = 12


def check_tree():
    """Return every node whose path, name, depth and parent do not agree."""
    return [
        node.path
        for node in models.Node.objects.select_related("parent")
        if paths.name(node.path) != node.name
        or paths.depth(node.path) != node.depth
        or (node.parent.path if node.parent else paths.ROOT) != paths.parent(node.path)
    ]


def attempt(change, **arguments):
    try:
        change(**arguments, by="test")
    except (services.NodeExists, services.NodeMissing):
        return 0
    return 1


def test_a_name_is_given_once(in_threads):
    results = in_threads(*[lambda: attempt(services.create_node, path="/a", primary_type="t")] * 6)
    assert sorted(results) == [0, 0, 0, 0, 0, 1]


def test_all_who_want_a_folder_get_the_same(in_threads):
    made = in_threads(*[lambda: services.ensure_folder(path="/a/b/c", by="test")] * 6)
    assert {folder.path for folder in made} == {"/a/b/c"}
    assert in_threads(models.Node.objects.count, check_tree) == [3, []]


def test_properties_set_at_once_are_all_kept(in_threads):
    in_threads(lambda: services.create_node(path="/a", primary_type="t", by="test"))
    writers = [
        lambda number=number: attempt(services.set_properties, path="/a", properties={f"p{number}": number})
        for number in range(6)
    ]
    assert in_threads(*writers) == [1] * 6
    (view,) = in_threads(lambda: services.get("/a"))
    assert (len(view.properties), view.revision) == (6, 7)


@pytest.mark.parametrize("change", ["move", "remove"])
def test_nothing_is_left_behind_where_a_subtree_was(in_threads, change):
    in_threads(lambda: services.ensure_folder(path="/a/b/c", by="test"))

    def add(writer):
        def work():
            for number in range(ROUNDS):
                for folder in ("/a/b/c", "/x/b/c"):
                    attempt(services.create_node, path=f"{folder}/{writer}-{number}", primary_type="t")

        return work

    def disturb():
        for number in range(ROUNDS):
            source, target = ("/a", "/x") if number % 2 == 0 else ("/x", "/a")
            if change == "move":
                attempt(services.move_node, path=source, destination=target)
            else:
                attempt(services.remove_node, path="/a")
                services.ensure_folder(path="/a/b/c", by="test")

    assert in_threads(add(1), add(2), disturb) == [None] * 3
    assert in_threads(check_tree) == [[]]
