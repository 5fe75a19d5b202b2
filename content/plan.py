"""Several changes as one value: what to remove, create and edit. Made by sessions and bundles, carried out here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from content import nodes, services, values


@dataclass(frozen=True)
class Edit:
    """What to set at one node; None removes a property or binary, "" keeps the type."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    binaries: Mapping[str, str | None] = field(default_factory=dict)
    primary_type: str = ""


@dataclass(frozen=True)
class Plan:
    """All by stored paths. `created` has no children: what belongs together is put together when it is carried out."""

    removed: tuple[str, ...] = ()
    created: Mapping[str, nodes.Tree] = field(default_factory=dict)
    edited: Mapping[str, Edit] = field(default_factory=dict)
    # Those of `created` that are wanted only to put others under: if there is a node, whatever it is, it will do.
    implied: frozenset[str] = frozenset()


def difference(before: nodes.NodeView, after: nodes.NodeView) -> Edit:
    """Return the edit that makes `after` of `before`; what they agree on is not in it."""
    names = sorted(before.properties.keys() | after.properties.keys())
    changed = {
        name: after.properties.get(name)
        for name in names
        if not values.same(before.properties.get(name), after.properties.get(name))
    }
    old = {name: ref.digest for name, ref in before.binaries.items()}
    new = {name: ref.digest for name, ref in after.binaries.items()}
    pointed = {name: new.get(name) for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)}
    return Edit(changed, pointed, after.primary_type if after.primary_type != before.primary_type else "")


@transaction.atomic
def carry_out(plan: Plan, *, by: str, user_data: str = "") -> None:
    """Apply the plan to the tree as it is now.

    What shall be removed and is gone is fine; what shall be created and is there gets the planned properties on top
    of its own; what shall be edited and is gone raises services.NodeMissing, for nobody meant to bring it back.
    """
    for path in plan.removed:
        if services.existing([path]):
            services.remove_node(path=path, by=by, user_data=user_data)
    there = services.existing(plan.created)
    fresh = {path: part for path, part in plan.created.items() if path not in there}
    for path, whole in nodes.assemble(fresh).items():
        services.create_tree(path=path, tree=whole, by=by, user_data=user_data)
    for path, edit in (_edits_of(plan.created, there - plan.implied) | dict(plan.edited)).items():
        services.set_properties(
            path=path,
            properties=edit.properties,
            binaries=edit.binaries,
            primary_type=edit.primary_type,
            by=by,
            user_data=user_data,
        )


def _edits_of(created: Mapping[str, nodes.Tree], there: set[str]) -> dict[str, Edit]:
    return {
        path: Edit(part.properties, part.binaries, part.primary_type) for path, part in created.items() if path in there
    }
