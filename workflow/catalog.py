"""Workflow models as content nodes: reads them for the engine and installs the shipped ones.

A model is the node `/etc/workflow/models/<name>/jcr:content/model` with `nodes` and `transitions` below it, one subtree
that can travel with a job. What makes a model valid is definition.py's.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence

from content import paths, services
from content.services import NodeView, Tree
from content.session import Session
from workflow import definition

log = logging.getLogger(__name__)

MODEL_TYPE = "cq:WorkflowModel"
NODE_TYPE = "cq:WorkflowNode"
TRANSITION_TYPE = "cq:WorkflowTransition"
# The digest of the model as it was shipped: while it fits, nobody changed the model and an upgrade may replace it.
SHIPPED = "shippedDigest"


class ModelMissing(LookupError):
    """No workflow model lies at the path."""


def read_model(path: str, session: Session) -> definition.Model:
    """Read the model at `path` as `session` sees the tree. Raises ModelMissing or ModelInvalid."""
    views = {view.path: view for view in session.subtree(path)}
    root = views.get(path)
    if root is None or root.primary_type != MODEL_TYPE:
        raise ModelMissing(f"No workflow model at {path}.")
    nodes = _children(views.values(), paths.join(path, "nodes"))
    transitions = _children(views.values(), paths.join(path, "transitions"))
    return definition.ordered(
        path,
        str(root.properties.get("title") or path),
        [_step(path, node, views) for node in nodes],
        [definition.Transition(str(t.properties["from"]), str(t.properties["to"])) for t in transitions],
        version=str(root.properties.get("version", "1.0")),
        description=str(root.properties.get("description", "")),
    )


def install_model(*, path: str, title: str, steps: Sequence[definition.Step], by: str = "system") -> None:
    """Create the model unless it is there. A shipped one that nobody changed is replaced by a newer shipped one."""
    model = definition.in_sequence(path, title, steps)
    existing = services.get(path)
    if existing is not None:
        if not _may_replace(existing, model):
            return
        model = definition.in_sequence(path, title, steps, version=_next_version(existing))
        services.remove_node(path=path, by=by)
    page = paths.parent(path)
    services.ensure_folder(path=paths.parent(paths.parent(page)), by=by)
    for node, primary_type in ((paths.parent(page), "cq:Page"), (page, "cq:PageContent")):
        if services.get(node) is None:
            services.create_node(path=node, primary_type=primary_type, properties={"jcr:title": title}, by=by)
    services.create_tree(path=path, tree=_tree(model), by=by)
    log.info("workflow model installed", extra={"model": path, "version": model.version})


def _may_replace(existing: NodeView, model: definition.Model) -> bool:
    shipped = existing.properties.get(SHIPPED)
    if shipped is None or shipped == _digest(model):
        return False
    try:
        current = read_model(model.path, Session(by="system"))
    except definition.ModelInvalid:
        return False
    return bool(_digest(current) == shipped)


def _digest(model: definition.Model) -> str:
    data = definition.to_json(model)
    del data["version"]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _next_version(existing: NodeView) -> str:
    major, _, minor = str(existing.properties.get("version", "1.0")).partition(".")
    return f"{major}.{int(minor or 0) + 1}"


def _tree(model: definition.Model) -> Tree:
    root = {"title": model.title, "version": model.version, "description": model.description, SHIPPED: _digest(model)}
    lines = zip(model.steps, model.steps[1:], strict=False)
    return Tree(
        primary_type=MODEL_TYPE,
        properties=root,
        children={
            "nodes": Tree("nt:unstructured", children={step.id: _step_tree(step) for step in model.steps}),
            "transitions": Tree(
                "nt:unstructured",
                children={
                    f"{source.id}#{target.id}": Tree(
                        TRANSITION_TYPE, properties={"from": source.id, "to": target.id, "rule": ""}
                    )
                    for source, target in lines
                },
            ),
        },
    )


def _step_tree(step: definition.Step) -> Tree:
    return Tree(
        NODE_TYPE,
        properties={"type": step.type.value, "title": step.title, "description": step.description},
        children={"metaData": Tree("nt:unstructured", properties=dict(step.metadata))},
    )


def _step(model_path: str, node: NodeView, views: Mapping[str, NodeView]) -> definition.Step:
    name = paths.name(node.path)
    metadata = views.get(paths.join(node.path, "metaData"))
    return definition.Step(
        type=definition.step_type(model_path, name, node.properties.get("type")),
        title=str(node.properties.get("title") or name),
        metadata=dict(metadata.properties) if metadata else {},
        id=name,
        description=str(node.properties.get("description", "")),
    )


def _children(views: Iterable[NodeView], parent: str) -> list[NodeView]:
    return [view for view in views if paths.parent(view.path) == parent]
