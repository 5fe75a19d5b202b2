"""Which news of the apps becomes which hint. Connected in LiveConfig.ready(), in every process."""

from typing import Any

from config.live.outbox import hint, hint_often
from content.signals import NodeEvent

ASSETS = "/content/dam/"
AGENTS = "/etc/replication/"


def on_node_changed(event: NodeEvent, **_: Any) -> None:
    for path in {event.path, event.old_path}:
        if path.startswith(ASSETS):
            hint("assets", asset_of(path))
        elif path.startswith(AGENTS):
            hint("replication")


def on_jobs_changed(**_: Any) -> None:
    hint_often("jobs")


def on_queues_changed(**_: Any) -> None:
    hint("queues")


def on_schedules_changed(name: str, **_: Any) -> None:
    hint("schedules", name)


def on_topology_changed(**_: Any) -> None:
    # What an instance may do is told by its topology properties.
    hint("topology")
    hint("topics")


def on_workflow_changed(workflow_id: object, payload: str, payload_root: str = "", **_: Any) -> None:
    hint("workflow", str(workflow_id))
    if payload.startswith(ASSETS) and not payload_root:
        hint("assets", asset_of(payload))


def asset_of(path: str) -> str:
    """Return the path of the asset (or folder) that a node below /content/dam is part of."""
    return path.partition("/jcr:content")[0]
