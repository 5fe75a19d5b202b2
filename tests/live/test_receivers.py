import uuid

import pytest

from config.live import outbox, receivers
from content import services as content
from content.signals import NodeEvent
from offloading.jobs import manager, schedules, scheduling
from topology.signals import topology_changed
from workflow.signals import workflow_changed

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet():
    """Begin as a process that has not told of anything."""
    outbox._left_at.clear()


def node_event(path: str, old_path: str = "") -> NodeEvent:
    return NodeEvent("changed", path, "nt:file", (), by="admin", user_data="", old_path=old_path)


def hints() -> list[tuple[str, str]]:
    return [(hint.kind, hint.key) for hint in outbox.since(0)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/content/dam/a.jpg", [("assets", "/content/dam/a.jpg")]),
        ("/content/dam/a.jpg/jcr:content/renditions/original", [("assets", "/content/dam/a.jpg")]),
        ("/etc/replication/agents.author/offloading_outbox", [("replication", "")]),
        ("/var/offloading/1/content/dam/a.jpg", []),
        ("/content/damage", []),
    ],
)
def test_node_is_told_as_what_people_see_of_it(path, expected):
    receivers.on_node_changed(event=node_event(path))
    assert hints() == expected


def test_moved_asset_is_told_at_both_places():
    receivers.on_node_changed(event=node_event("/content/dam/b.jpg", old_path="/content/dam/a.jpg"))
    assert sorted(hints()) == [("assets", "/content/dam/a.jpg"), ("assets", "/content/dam/b.jpg")]


def test_new_job_is_told():
    manager.add_job("acme/mail/send")
    assert ("jobs", "") in hints()


def test_change_of_a_schedule_is_told():
    row = scheduling.schedule_job(topic="acme/mail/send", schedules=[schedules.daily(8, 30)])
    assert hints() == [("schedules", row.name)]


def test_new_folder_is_told():
    content.ensure_folder(path="/content/dam/winter", by="admin")
    assert ("assets", "/content/dam/winter") in hints()


def test_topology_is_also_about_topics():
    topology_changed.send(sender=None, event=None)
    assert hints() == [("topology", ""), ("topics", "")]


def test_workflow_on_an_asset_is_also_about_the_asset():
    workflow_id = uuid.uuid4()
    facts = {"workflow_id": workflow_id, "state": "RUNNING", "failure_message": ""}
    receivers.on_workflow_changed(payload="/content/dam/a.jpg/jcr:content/renditions/original", **facts)
    assert hints() == [("workflow", str(workflow_id)), ("assets", "/content/dam/a.jpg")]


def test_workflow_on_a_copy_is_not_about_an_asset_here():
    facts = {"workflow_id": uuid.uuid4(), "state": "RUNNING", "failure_message": ""}
    workflow_changed.send(sender=None, payload="/content/dam/a.jpg", payload_root="/var/offloading/1", **facts)
    assert [kind for kind, _ in hints()] == ["workflow"]


def test_asset_of_leaves_folders_alone():
    assert receivers.asset_of("/content/dam/folder") == "/content/dam/folder"
