"""The values that stand for nodes outside the database: what is read, and what is to be created. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from content import paths


@dataclass(frozen=True)
class BinaryRef:
    """Which bytes a binary property holds; the blob store has them under the digest."""

    digest: str
    size: int


@dataclass(frozen=True)
class NodeView:
    """A node as it was when it was read."""

    path: str
    primary_type: str
    properties: dict[str, Any]
    binaries: dict[str, BinaryRef]
    revision: int

    @property
    def name(self) -> str:
        return paths.name(self.path)


@dataclass(frozen=True)
class Tree:
    """A node to be created, with all that shall be below it. `binaries` maps a property name to a digest."""

    primary_type: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    binaries: Mapping[str, str] = field(default_factory=dict)
    children: Mapping[str, "Tree"] = field(default_factory=dict)

    @classmethod
    def like(cls, view: NodeView) -> "Tree":
        """Return what creates such a node, without children."""
        return cls(view.primary_type, view.properties, {name: ref.digest for name, ref in view.binaries.items()})

    def walk(self, path: str) -> list[tuple[str, "Tree"]]:
        """List every node with its path, as if this one stood at `path`; parents first."""
        found = [(path, self)]
        for name, child in self.children.items():
            found += child.walk(paths.join(path, name))
        return found


def assemble(nodes: Mapping[str, Tree]) -> dict[str, Tree]:
    """Nest nodes, given by their paths without children, into as few trees as possible, by the path of their root."""
    trees: dict[str, Tree] = {}
    # Deepest first: a node is complete when its parent takes it in.
    waiting = dict(nodes)
    for path in sorted(nodes, key=paths.depth, reverse=True):
        tree = waiting.pop(path)
        above = paths.parent(path)
        if above in waiting:
            parent = waiting[above]
            waiting[above] = replace(parent, children={**parent.children, paths.name(path): tree})
        else:
            trees[path] = tree
    return dict(sorted(trees.items(), key=lambda item: paths.tree_order(item[0])))
