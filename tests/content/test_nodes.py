from content import nodes

LEAF = nodes.Tree("t")


def test_nodes_are_nested_into_as_few_trees_as_possible():
    flat = {path: nodes.Tree(path) for path in ["/a/b", "/a", "/a/b/c", "/a-b", "/x/y/z"]}
    trees = nodes.assemble(flat)
    assert list(trees) == ["/a", "/a-b", "/x/y/z"]
    assert dict(trees["/a"].walk("/a")).keys() == {"/a", "/a/b", "/a/b/c"}


def test_children_that_a_tree_has_already_stay():
    trees = nodes.assemble({"/a": nodes.Tree("t", children={"old": LEAF}), "/a/new": LEAF})
    assert [path for path, _ in trees["/a"].walk("/a")] == ["/a", "/a/old", "/a/new"]
