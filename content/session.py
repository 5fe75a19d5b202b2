"""A unit of work over the tree, or over a part of it that looks like the whole.

A session collects changes and applies them at once, so that heavy work can come before the transaction and its result
inside it. Bytes are stored at once: without a node that refers to them they are only garbage to be collected.
"""

import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from django.db import transaction

from content import blobs, models, nodes, paths, plan, services, values


class BinaryMissing(Exception):
    """The node is there, but has no binary of that name."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(f"{path} has no binary {name!r}. Look at the names it has, or wait until it is complete.")


class Session:
    """Reads see the changes made so far. With a root, "/x" means root + "/x" everywhere, and nothing else exists.

    Saving compares with what was read: only what this session changed is written, so that others may change other
    properties of the same nodes meanwhile. Not for use by several threads.
    """

    _removed: list[str]
    _base: dict[str, nodes.NodeView]  # as read, of the nodes that are written to
    _written: dict[str, nodes.NodeView]  # as they shall be
    _implied: set[str]  # written only because something below them was

    def __init__(self, root: str = "", *, by: str, user_data: str = "") -> None:
        self._root = paths.validate(root).rstrip("/") if root else ""
        self._by = by
        self._user_data = user_data
        self._handles: dict[str, int] = {}
        self._clear()

    # --- reading ---

    def get(self, path: str) -> nodes.NodeView | None:
        view = self._current(self._stored(path))
        return None if view is None else self._logical(view)

    def children(self, path: str) -> list[nodes.NodeView]:
        stored = self._stored(path)
        return self._merged(services.children(stored), lambda other: paths.parent(other) == stored)

    def subtree(self, path: str) -> list[nodes.NodeView]:
        stored = self._stored(path)
        return self._merged(
            services.read_subtree(stored), lambda other: other == stored or paths.is_below(other, stored)
        )

    def open(self, path: str, name: str = "jcr:data") -> BinaryIO:
        """Open a binary for reading. Raises NodeMissing, BinaryMissing, BlobMissing."""
        return blobs.open_blob(self._binary(path, name).digest)

    def file_path(self, path: str, name: str = "jcr:data") -> Path:
        """Return the file that holds a binary, for libraries that want one; it must not be written to."""
        return blobs.file_path(self._binary(path, name).digest)

    # --- changing ---

    @property
    def has_changes(self) -> bool:
        return bool(self._removed or self._written)

    def put(
        self,
        path: str,
        primary_type: str,
        properties: Mapping[str, Any] | None = None,
        binaries: Mapping[str, str | None] | None = None,
    ) -> nodes.NodeView:
        """Create the node, and those above it, or give the existing one this type and these properties too."""
        stored = self._stored(path)
        if stored == (self._root or paths.ROOT):
            raise paths.PathInvalid("The root '/' is not a node. Give a path below it.")
        current = self._current(stored)
        if current is None:
            self._imply(paths.parent(stored))
            current = nodes.NodeView(stored, primary_type, {}, {}, 0)
        return self._write(replace(current, primary_type=primary_type), properties, binaries)

    def set_properties(
        self,
        path: str,
        properties: Mapping[str, Any] | None = None,
        binaries: Mapping[str, str | None] | None = None,
    ) -> nodes.NodeView:
        """Set properties and binaries of an existing node; None removes one. Raises NodeMissing."""
        return self._write(self._required(self._stored(path)), properties, binaries)

    def remove(self, path: str) -> None:
        """Remove the node and all below it. Raises NodeMissing."""
        stored = self._required(self._stored(path)).path
        is_stored = not self._is_removed(stored) and bool(services.existing([stored]))
        for known in (self._written, self._base):
            for other in [other for other in known if other == stored or paths.is_below(other, stored)]:
                del known[other]
                self._implied.discard(other)
        if is_stored:
            self._removed = [other for other in self._removed if not paths.is_below(other, stored)] + [stored]

    def store(self, source: BinaryIO | Iterable[bytes]) -> str:
        """Store bytes and return their digest, to be given as a binary of a node."""
        blob = blobs.store(source)
        if blob.digest not in self._handles:
            # Kept open until the end: should somebody else's equal bytes be removed before we save, these remain.
            handle = os.open(blobs.file_path(blob.digest), os.O_RDONLY)
            weakref.finalize(self, os.close, handle)
            self._handles[blob.digest] = handle
        return blob.digest

    def save(self) -> None:
        """Apply all changes, in the caller's transaction if there is one, and forget them.

        Raises NodeMissing if a node that was changed is gone by now, and BlobMissing. Then nothing is applied.
        """
        with transaction.atomic():
            self._store_again()
            plan.carry_out(self._plan(), by=self._by, user_data=self._user_data)
        self._clear()

    # --- inside: stored paths only ---

    def _clear(self) -> None:
        self._removed = []
        self._base = {}
        self._written = {}
        self._implied = set()

    def _stored(self, path: str) -> str:
        normal = paths.validate(path)
        return self._root or normal if normal == paths.ROOT else paths.validate(self._root + normal)

    def _logical(self, view: nodes.NodeView) -> nodes.NodeView:
        return replace(
            view,
            path=view.path.removeprefix(self._root) or paths.ROOT,
            properties=dict(view.properties),
            binaries=dict(view.binaries),
        )

    def _is_removed(self, path: str) -> bool:
        return any(path == removed or paths.is_below(path, removed) for removed in self._removed)

    def _current(self, path: str) -> nodes.NodeView | None:
        if path in self._written:
            return self._written[path]
        return None if self._is_removed(path) else services.get(path)

    def _required(self, path: str) -> nodes.NodeView:
        view = self._current(path)
        if view is None:
            raise services.NodeMissing(path)
        return view

    def _binary(self, path: str, name: str) -> nodes.BinaryRef:
        view = self._required(self._stored(path))
        if name not in view.binaries:
            raise BinaryMissing(view.path, name)
        return view.binaries[name]

    def _merged(self, found: list[nodes.NodeView], is_wanted: Callable[[str], bool]) -> list[nodes.NodeView]:
        views = {view.path: view for view in found if not self._is_removed(view.path)}
        views |= {path: view for path, view in self._written.items() if is_wanted(path)}
        return [self._logical(views[path]) for path in sorted(views, key=paths.tree_order)]

    def _imply(self, path: str) -> None:
        """Plan the missing nodes from `path` upwards."""
        while path != paths.ROOT and self._current(path) is None:
            self._written[path] = nodes.NodeView(path, "nt:unstructured", {}, {}, 0)
            self._implied.add(path)
            path = paths.parent(path)

    def _write(
        self, view: nodes.NodeView, given: Mapping[str, Any] | None, binaries: Mapping[str, str | None] | None
    ) -> nodes.NodeView:
        merged = view.properties | values.validate(given or {})
        refs = view.binaries | self._refs(binaries or {})
        after = replace(
            view,
            properties={name: value for name, value in merged.items() if value is not None},
            binaries={name: ref for name, ref in refs.items() if ref is not None},
        )
        before = self._current(view.path)
        if view.path not in self._written and before is not None:
            self._base[view.path] = before
        self._written[view.path] = after
        self._implied.discard(view.path)
        return self._logical(after)

    def _refs(self, binaries: Mapping[str, str | None]) -> dict[str, nodes.BinaryRef | None]:
        wanted = {digest for digest in binaries.values() if digest is not None}
        sizes = dict(models.Blob.objects.usable().filter(digest__in=wanted).values_list("digest", "size"))
        sizes |= {digest: os.fstat(self._handles[digest]).st_size for digest in wanted & self._handles.keys()}
        if lacking := wanted - sizes.keys():
            raise blobs.BlobMissing(lacking)
        return {
            values.validate_name(name): None if digest is None else nodes.BinaryRef(digest, sizes[digest])
            for name, digest in binaries.items()
        }

    def _store_again(self) -> None:
        used = {ref.digest for view in self._written.values() for ref in view.binaries.values()}
        for digest in blobs.missing(used & self._handles.keys()):
            with open(self._handles[digest], "rb", closefd=False) as file:
                file.seek(0)
                blobs.store(file)

    def _plan(self) -> plan.Plan:
        return plan.Plan(
            removed=tuple(self._removed),
            created={path: nodes.Tree.like(view) for path, view in self._written.items() if path not in self._base},
            edited={path: plan.difference(base, self._written[path]) for path, base in self._base.items()},
            implied=frozenset(self._implied),
        )
