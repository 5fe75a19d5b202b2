"""Subtrees as a manifest, to be carried to another installation and back: plain JSON entries that name digests.

An entry is `{"path", "primary_type", "properties", "binaries": {name: {"digest", "size"}}}`; a manifest is the list
of the entries of whole subtrees. What comes back is compared with what was sent, and only the difference is applied:
what others changed at home meanwhile stays. How the bytes travel is no matter of this module.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import transaction

from content import blobs, files, nodes, paths, plan, services, values

Entry = dict[str, Any]


class ManifestInvalid(ValueError):
    """The entries, which come from another machine, are no manifest."""


class ChangeKind(StrEnum):
    CREATED = "created"
    TYPE_SET = "type set"
    PROPERTY_SET = "property set"
    PROPERTY_REMOVED = "property removed"
    BINARY_SET = "binary set"
    BINARY_REMOVED = "binary removed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    """One difference. `value` is the entry, the type, the property or the `{"digest", "size"}`, by kind."""

    kind: ChangeKind
    path: str
    name: str = ""
    value: Any = None


def describe(roots: Iterable[str], root: str = "") -> list[Entry]:
    """Return the entries of whole subtrees. Paths given and returned are those below `root`. Raises NodeMissing."""
    base = paths.validate(root).rstrip("/") if root else ""
    wanted = [base + paths.validate(path) for path in roots]
    views = services.read_subtree(*wanted)
    for path in set(wanted) - {view.path for view in views}:
        raise services.NodeMissing(path)
    return [_entry(view, view.path.removeprefix(base)) for view in views]


def digests(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the digests that the entries name, each once, with the size of the bytes. Raises ManifestInvalid."""
    return {ref.digest: ref.size for entry in entries for ref in _view(entry).binaries.values()}


@transaction.atomic
def import_entries(entries: Sequence[Entry], root: str = "", *, by: str, user_data: str = "") -> None:
    """Bring the subtrees that the entries describe to exactly that state, below `root`; doing it twice is fine.

    Nodes above them are made if they are missing. Raises ManifestInvalid, and BlobMissing naming all that is missing.
    """
    planned = _read(entries)
    if lacking := blobs.missing(digests(entries)):
        raise blobs.BlobMissing(lacking)
    base = paths.validate(root).rstrip("/") if root else ""
    tops = _tops(planned)
    present = services.existing(base + path for path in tops)
    before = describe([path for path in tops if base + path in present], root)
    for path in tops:
        above = paths.parent(base + path)
        if above != paths.ROOT:
            services.ensure_folder(path=above, primary_type="nt:unstructured", by=by, user_data=user_data)
    apply_changes(changes(before, entries), root=root, by=by, user_data=user_data)


def changes(before: Sequence[Entry], after: Sequence[Entry]) -> list[Change]:
    """Return what makes `after` of `before`.

    `after` decides what it is about: of a subtree whose root it does not have it says nothing, so that a result that
    describes other paths than what was sent removes nothing. Raises ManifestInvalid.
    """
    old, new = _read(before), _read(after)
    found = [
        Change(ChangeKind.CREATED, path, value=_entry(view, path)) for path, view in new.items() if path not in old
    ]
    gone = [path for path in old if path not in new and paths.parent(path) in new]
    found += [Change(ChangeKind.REMOVED, path) for path in gone]
    for path in old.keys() & new.keys():
        found += _differences(old[path], new[path])
    return sorted(found, key=lambda change: (paths.tree_order(change.path), change.kind, change.name))


def apply_changes(found: Iterable[Change], *, root: str = "", by: str, user_data: str = "") -> None:
    """Apply changes to the tree as it is now, in one transaction, below `root`.

    What is not among them stays as it is. Raises NodeMissing if a node to be changed, or the one above a node to be
    created, is gone by now, and BlobMissing.
    """
    base = paths.validate(root).rstrip("/") if root else ""
    removed, created, edits = [], {}, defaultdict(list)
    for change in found:
        path = base + paths.validate(change.path)
        if change.kind == ChangeKind.REMOVED:
            removed.append(path)
        elif change.kind == ChangeKind.CREATED:
            created[path] = nodes.Tree.like(_view(change.value))
        else:
            edits[path].append(change)
    edited = {path: _edit(some) for path, some in edits.items()}
    plan.carry_out(plan.Plan(tuple(removed), created, edited), by=by, user_data=user_data)


def _differences(before: nodes.NodeView, after: nodes.NodeView) -> list[Change]:
    edit, path = plan.difference(before, after), after.path
    found = [Change(ChangeKind.TYPE_SET, path, value=edit.primary_type)] if edit.primary_type else []
    for name, value in edit.properties.items():
        kind = ChangeKind.PROPERTY_REMOVED if value is None else ChangeKind.PROPERTY_SET
        found.append(Change(kind, path, name, value))
    for name, digest in edit.binaries.items():
        if digest is None:
            found.append(Change(ChangeKind.BINARY_REMOVED, path, name))
        else:
            found.append(Change(ChangeKind.BINARY_SET, path, name, _reference(after.binaries[name])))
    return found


def _edit(found: Iterable[Change]) -> plan.Edit:
    given: dict[str, Any] = {}
    binaries: dict[str, str | None] = {}
    primary_type = ""
    for change in found:
        if change.kind == ChangeKind.TYPE_SET:
            primary_type = change.value
        elif change.kind in (ChangeKind.PROPERTY_SET, ChangeKind.PROPERTY_REMOVED):
            given[change.name] = change.value
        else:
            binaries[change.name] = change.value and change.value["digest"]
    return plan.Edit(given, binaries, primary_type)


def _entry(view: nodes.NodeView, path: str) -> Entry:
    return {
        "path": path,
        "primary_type": view.primary_type,
        "properties": view.properties,
        "binaries": {name: _reference(ref) for name, ref in view.binaries.items()},
    }


def _reference(ref: nodes.BinaryRef) -> dict[str, Any]:
    return {"digest": ref.digest, "size": ref.size}


def _tops(planned: Mapping[str, nodes.NodeView]) -> list[str]:
    return [path for path in planned if paths.parent(path) not in planned]


def _read(entries: Sequence[Entry]) -> dict[str, nodes.NodeView]:
    """Check entries and return them by path. Whole subtrees only: a gap between two nodes would hide what it is."""
    views = [_view(entry) for entry in entries]
    by_path = {view.path: view for view in sorted(views, key=lambda view: paths.tree_order(view.path))}
    if len(by_path) != len(views):
        raise ManifestInvalid("Two entries have the same path. Send each node once.")
    tops = _tops(by_path)
    for path in tops:
        above = paths.parent(path)
        while above != paths.ROOT:
            above = paths.parent(above)
            if above in by_path:
                raise ManifestInvalid(f"The entry {path} is below {above}, but the ones between them are missing.")
    return by_path


def _view(entry: Any) -> nodes.NodeView:
    try:
        path = paths.validate(entry["path"])
        binaries = {
            values.validate_name(name): nodes.BinaryRef(files.checked(ref["digest"]), _size(ref["size"]))
            for name, ref in entry["binaries"].items()
        }
        given = {name: value for name, value in values.validate(entry["properties"]).items() if value is not None}
        primary_type = values.validate_type(entry["primary_type"])
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ManifestInvalid(
            f"An entry cannot be read: {error!r}. Send entries as bundles.describe makes them."
        ) from error
    if path == paths.ROOT:
        raise ManifestInvalid("The root '/' is not a node. Send the nodes below it.")
    return nodes.NodeView(path, primary_type, given, binaries, 0)


def _size(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ValueError(f"{given!r} is no size in bytes")
    return given
