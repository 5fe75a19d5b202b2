"""Changes to the tree, one service each, and reading it. Every change is one transaction and sends its signal in it.

Who may change what is decided above; here `by` is only passed on. Paths are validated here, whoever calls. Two
changes that could not both be true wait for each other on row locks: a node under which somebody creates another is
held in place, a subtree that moves or goes is locked as a whole.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Prefetch, Value
from django.db.models.functions import Concat, Now, Substr

from content import blobs, models, nodes, paths, signals, values

# The values that services take and give, under the name their callers use.
Tree = nodes.Tree
NodeView = nodes.NodeView
BinaryRef = nodes.BinaryRef


class NodeExists(Exception):
    """There is a node at the path where one shall be created."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is already a node at {path}. Choose another name, or remove it first.")


class NodeMissing(Exception):
    """There is no node at the path; somebody may have moved or removed it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no node at {path}. It may have been moved or removed: look at its folder.")


class ParentMissing(NodeMissing):
    """There is no node that the new one could be put under."""

    def __init__(self, path: str) -> None:
        Exception.__init__(self, f"There is no node above {path}. Create {paths.parent(path)} first.")


class RevisionConflict(Exception):
    """The node was changed since the caller read it."""

    def __init__(self, path: str, *, expected: int, found: int) -> None:
        super().__init__(f"{path} is at revision {found}, not {expected}: somebody changed it. Read it and try again.")


# --- Reading: two queries each, whatever the number of nodes ------------------------------------------------------


def get(path: str) -> NodeView | None:
    """Return the node at `path`, or None."""
    return next(iter(_views(models.Node.objects.filter(path=paths.validate(path)))), None)


def children(path: str) -> list[NodeView]:
    """Return the nodes right below `path`, by name."""
    normal = paths.validate(path)
    if normal == paths.ROOT:
        return _views(models.Node.objects.filter(parent=None))
    return _views(models.Node.objects.filter(parent__path=normal))


def read_subtree(*roots: str) -> list[NodeView]:
    """Return the nodes at and below the roots; each subtree stands together, parents first."""
    return _views(models.Node.objects.subtree(*map(paths.validate, roots)))


def existing(candidates: Iterable[str]) -> set[str]:
    """Return those of the paths at which there is a node."""
    return set(models.Node.objects.filter(path__in=list(candidates)).values_list("path", flat=True))


# --- Changing -----------------------------------------------------------------------------------------------------


def create_node(
    *,
    path: str,
    primary_type: str,
    properties: Mapping[str, Any] | None = None,
    binaries: Mapping[str, str] | None = None,
    by: str,
    user_data: str = "",
) -> NodeView:
    """Create one node below an existing one. Raises NodeExists, ParentMissing, blobs.BlobMissing."""
    tree = Tree(primary_type, properties or {}, binaries or {})
    return create_tree(path=path, tree=tree, by=by, user_data=user_data)[0]


@transaction.atomic
def create_tree(*, path: str, tree: Tree, by: str, user_data: str = "") -> list[NodeView]:
    """Create a node and all below it; the signals come after the last row, so that receivers see the whole of it."""
    views = _insert(paths.validate(path), tree)
    for view in views:
        names = (*view.properties, *view.binaries)
        _tell("added", view.path, view.primary_type, names, by=by, user_data=user_data)
    return views


@transaction.atomic
def ensure_folder(*, path: str, primary_type: str = "sling:Folder", by: str, user_data: str = "") -> NodeView:
    """Return the node at `path`, created if need be, and those above it. Existing nodes stay as they are."""
    normal = paths.validate(path)
    names = normal[1:].split("/")
    line = ["/" + "/".join(names[: count + 1]) for count in range(len(names))]
    there = existing(line)
    for folder in line:
        if folder not in there:
            try:
                create_node(path=folder, primary_type=primary_type, by=by, user_data=user_data)
            except NodeExists:
                continue  # somebody else was quicker: just as well
    return _existing(normal)


@transaction.atomic
def set_properties(
    *,
    path: str,
    properties: Mapping[str, Any] | None = None,
    binaries: Mapping[str, str | None] | None = None,
    primary_type: str = "",
    expected_revision: int | None = None,
    by: str,
    user_data: str = "",
) -> NodeView:
    """Set the given properties and binaries, remove those given as None, and leave the others alone.

    What is set already does not count as a change; without any change nothing is written and no signal sent.
    Raises NodeMissing, RevisionConflict, blobs.BlobMissing.
    """
    normal = paths.validate(path)
    node = models.Node.objects.select_for_update(no_key=True).filter(path=normal).first()
    if node is None:
        raise NodeMissing(normal)
    if expected_revision is not None and expected_revision != node.revision:
        raise RevisionConflict(normal, expected=expected_revision, found=node.revision)
    changed = _merge(node, properties or {}) + _set_binaries(node, binaries or {})
    if primary_type not in ("", node.primary_type):
        node.primary_type = values.validate_type(primary_type)
        changed = ("jcr:primaryType", *changed)
    if changed:
        models.Node.objects.filter(pk=node.pk).update(
            properties=node.properties,
            primary_type=node.primary_type,
            revision=F("revision") + 1,
            modified_at=Now(),
        )
        _tell("changed", normal, node.primary_type, changed, by=by, user_data=user_data)
    return _existing(normal)


@transaction.atomic
def move_node(*, path: str, destination: str, by: str, user_data: str = "") -> NodeView:
    """Move a node with all below it. Raises NodeMissing, NodeExists, ParentMissing, paths.PathInvalid."""
    source, target = paths.validate(path), paths.validate(destination)
    if paths.is_below(target, source):
        raise paths.PathInvalid(f"{source} cannot be moved to {target}, below itself. Choose another destination.")
    rows = _lock_subtree(source)
    _require_free(target)
    for row in rows:
        paths.validate(target + row.path.removeprefix(source))
    parent = _hold_parent(target)
    with _taken(target):
        models.Node.objects.subtree(source).update(
            path=Concat(Value(target), Substr("path", len(source) + 1)),
            depth=F("depth") + paths.depth(target) - paths.depth(source),
        )
    models.Node.objects.filter(pk=rows[0].pk).update(
        parent=parent, name=paths.name(target), revision=F("revision") + 1, modified_at=Now()
    )
    _tell("moved", target, rows[0].primary_type, (), by=by, user_data=user_data, old_path=source)
    return _existing(target)


@transaction.atomic
def copy_node(*, path: str, destination: str, by: str, user_data: str = "") -> list[NodeView]:
    """Copy a node with all below it; the bytes are shared. Raises NodeMissing, NodeExists, ParentMissing."""
    source, target = paths.validate(path), paths.validate(destination)
    copied = {target + view.path.removeprefix(source): Tree.like(view) for view in read_subtree(source)}
    if not copied:
        raise NodeMissing(source)
    return create_tree(path=target, tree=nodes.assemble(copied)[target], by=by, user_data=user_data)


@transaction.atomic
def remove_node(*, path: str, by: str, user_data: str = "") -> None:
    """Remove a node with all below it. Its bytes stay until the collector comes. Raises NodeMissing."""
    normal = paths.validate(path)
    rows = _lock_subtree(normal)
    doomed = models.Node.objects.subtree(normal)
    models.Binary.objects.filter(node__in=doomed).delete()
    doomed.delete()
    _tell("removed", normal, rows[0].primary_type, (), by=by, user_data=user_data)


# --- Parts --------------------------------------------------------------------------------------------------------


def _views(query: models.NodeQuerySet) -> list[NodeView]:
    binaries = Prefetch("binaries", models.Binary.objects.select_related("blob").order_by("name"))
    views = [_view(node, node.binaries.all()) for node in query.prefetch_related(binaries)]
    return sorted(views, key=lambda view: paths.tree_order(view.path))


def _view(node: models.Node, binaries: Iterable[models.Binary]) -> NodeView:
    refs = {binary.name: BinaryRef(binary.blob.digest, binary.blob.size) for binary in binaries}
    return NodeView(node.path, node.primary_type, node.properties, refs, node.revision)


def _existing(path: str) -> NodeView:
    view = get(path)
    if view is None:
        raise NodeMissing(path)
    return view


def _insert(path: str, tree: Tree) -> list[NodeView]:
    """Insert the rows of a tree, level by level: a row needs the key of the one above it."""
    parent = _hold_parent(path)
    _require_free(path)
    planned = {paths.validate(place): part for place, part in tree.walk(path)}
    rows: dict[str, models.Node] = {}
    for depth, level in itertools.groupby(sorted(planned, key=paths.depth), key=paths.depth):
        made = [_row(place, depth, rows.get(paths.parent(place), parent), planned[place]) for place in level]
        with _taken(path):
            models.Node.objects.bulk_create(made)
        rows |= {row.path: row for row in made}
    binaries = _insert_binaries({rows[place]: part.binaries for place, part in planned.items()})
    return [_view(rows[place], binaries[rows[place]]) for place in planned]


def _row(path: str, depth: int, parent: models.Node | None, tree: Tree) -> models.Node:
    return models.Node(
        path=path,
        parent=parent,
        name=paths.name(path),
        depth=depth,
        primary_type=values.validate_type(tree.primary_type),
        properties=_without_none(values.validate(tree.properties)),
    )


def _insert_binaries(wanted: Mapping[models.Node, Mapping[str, str]]) -> dict[models.Node, list[models.Binary]]:
    held = _held_blobs(digest for binaries in wanted.values() for digest in binaries.values())
    made = {
        node: [
            models.Binary(node=node, name=values.validate_name(name), blob=held[digest])
            for name, digest in sorted(binaries.items())
        ]
        for node, binaries in wanted.items()
    }
    models.Binary.objects.bulk_create(binary for some in made.values() for binary in some)
    return made


def _hold_parent(path: str) -> models.Node | None:
    """Hold the node above `path` in place; None for a node of the first level, which has none."""
    above = paths.parent(path)
    if above == paths.ROOT:
        return None
    parent = models.Node.objects.hold(above)
    if parent is None:
        raise ParentMissing(path)
    return parent


def _require_free(path: str) -> None:
    if path == paths.ROOT:
        raise paths.PathInvalid("The root '/' is not a node. Give a path below it.")
    if models.Node.objects.filter(path=path).exists():
        raise NodeExists(path)


@contextlib.contextmanager
def _taken(path: str) -> Iterator[None]:
    """Say NodeExists when somebody else was quicker, and keep the caller's transaction usable."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        raise NodeExists(path) from error


def _held_blobs(digests: Iterable[str]) -> dict[str, models.Blob]:
    wanted = set(digests)
    held = models.Blob.objects.hold(wanted) if wanted else {}
    if lacking := wanted - held.keys():
        raise blobs.BlobMissing(lacking)
    return held


def _lock_subtree(path: str) -> list[models.Node]:
    """Lock the node and all below it, the node first. Afterwards nobody can add to it until the transaction ends.

    While the locks are waited for, somebody may add nodes below not yet locked ones: so it looks again until there
    is nothing new.
    """
    subtree = models.Node.objects.subtree(path).only("path", "primary_type").order_by("path")
    known: set[int] = set()
    while True:
        found = list(subtree.select_for_update())
        if known == {row.pk for row in found}:
            break
        known = {row.pk for row in found}
    rows = sorted(found, key=lambda row: paths.tree_order(row.path))
    if not rows or rows[0].path != path:
        raise NodeMissing(path)
    return rows


def _merge(node: models.Node, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Bring the given values into the node's properties; return the names that changed."""
    old = node.properties
    node.properties = _without_none(old | values.validate(given))
    return tuple(
        name
        for name in given
        if (name in old) != (name in node.properties)
        or (name in old and not values.same(old[name], node.properties[name]))
    )


def _set_binaries(node: models.Node, wanted: Mapping[str, str | None]) -> tuple[str, ...]:
    """Point the node's binaries to the wanted digests; return the names that changed."""
    old = dict(node.binaries.values_list("name", "blob"))
    changed = {values.validate_name(name): digest for name, digest in wanted.items() if old.get(name) != digest}
    node.binaries.filter(name__in=changed).delete()
    _insert_binaries({node: {name: digest for name, digest in changed.items() if digest is not None}})
    return tuple(changed)


def _without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _tell(
    kind: signals.EventKind,
    path: str,
    primary_type: str,
    names: tuple[str, ...],
    *,
    by: str,
    user_data: str,
    old_path: str = "",
) -> None:
    event = signals.NodeEvent(kind, path, primary_type, names, by, user_data, old_path)
    signals.node_changed.send(sender=models.Node, event=event)
