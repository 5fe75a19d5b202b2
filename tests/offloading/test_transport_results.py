"""Results at the origin: applied once, or kept aside with the reason."""

import hashlib

import pytest

from content import blobs
from content import services as content
from offloading.jobs import manager, outcomes
from offloading.models import Job, JobState, Transfer
from offloading.transport import client as transport_client
from offloading.transport import keys, payload, sender, transfers
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish
from topology import services as topology

pytestmark = pytest.mark.django_db

RESULT = "/bin/receive/results"
ASSET = "/content/dam/a.jpg"
ORIGINAL = f"{ASSET}/renditions/original"
MADE = f"{ASSET}/renditions/small.png"


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()


@pytest.fixture
def foreign():
    foreign = Foreign()
    foreign.announce()
    return foreign


@pytest.fixture
def sent(foreign):
    """Return the OUT transfer of a job that the target has queued, with an asset as input and output payload."""
    content.ensure_folder(path="/content/dam", by="ann")
    original = content.Tree("nt:file", binaries={"jcr:data": blobs.store([b"original"]).digest})
    tree = content.Tree(
        "dam:Asset", {"title": "A"}, children={"renditions": content.Tree("nt:folder", children={"original": original})}
    )
    content.create_tree(path=ASSET, tree=tree, by="ann")
    manager.add_job(TOPIC, {payload.INPUT: ASSET, payload.OUTPUT: ASSET})
    assert sender.take_jobs(topology.current_view()) == 1
    transfer = transfers.take(Transfer.objects.get().id)
    assert sender._pack(transfer, foreign.cluster_id)
    transfers.finish(transfer)
    return transfer


def result_of(sent, *, made=b"small", state="SUCCEEDED", **changes):
    entries = [dict(entry) for entry in sent.manifest["entries"]]
    entries[0] = entries[0] | {"properties": {"title": "A", "processed": True}}
    binary = {"jcr:data": {"digest": hashlib.sha256(made).hexdigest(), "size": len(made)}}
    entries.append({"path": MADE, "primary_type": "nt:file", "properties": {}, "binaries": binary})
    attempt = {
        "instance": sent.peer,
        "instance_label": "127.0.0.1:4512",
        "fence": sent.fence + 1,
        "started_at": "2026-11-24T12:00:00+00:00",
        "ended_at": "2026-11-24T12:00:02.5+00:00",
        "outcome": "SUCCEEDED",
        "message": "done",
        "log": "made small.png\n",
    }
    return {
        "job": str(sent.job_id),
        "fence": sent.fence,
        "state": state,
        "message": "done",
        "attempts": [attempt],
        "entries": entries if state == "SUCCEEDED" else [],
        "moved": {"blobs": 1, "bytes": len(made)},
    } | changes


def job_of(sent):
    return Job.objects.get(id=sent.job_id)


def back():
    return Transfer.objects.get(direction="BACK")


def test_result_asks_for_what_is_missing_and_is_then_applied_with_the_outcome(client, foreign, sent):
    answer = foreign.post(client, RESULT, result_of(sent)).json()
    assert (answer["state"], len(answer["blobs"])) == ("missing", 1)
    assert job_of(sent).state == JobState.ACTIVE
    assert content.get(MADE) is None
    blobs.store([b"small"])
    assert foreign.post(client, RESULT, result_of(sent)).json() == {"state": "applied"}
    assert content.get(MADE).binaries["jcr:data"].size == 5
    assert content.get(ASSET).properties == {"title": "A", "processed": True}
    job = job_of(sent)
    assert (job.state, job.result_message) == (JobState.SUCCEEDED, "done")
    attempt = job.attempts.get()
    assert (attempt.instance_label, attempt.outcome, attempt.log) == ("127.0.0.1:4512", "SUCCEEDED", "made small.png\n")
    assert (back().state, back().bytes_moved, back().blobs_moved) == ("DONE", 5, 1)


def test_same_result_again_gets_the_same_answer_and_changes_nothing(client, foreign, sent):
    blobs.store([b"small"])
    foreign.post(client, RESULT, result_of(sent))
    content.set_properties(path=ASSET, properties={"processed": "edited since"}, by="ann")
    assert foreign.post(client, RESULT, result_of(sent)).json() == {"state": "applied"}
    assert content.get(ASSET).properties["processed"] == "edited since"


def test_what_people_changed_meanwhile_stays(client, foreign, sent):
    blobs.store([b"small"])
    content.set_properties(path=ASSET, properties={"title": "Better", "rating": 5}, by="ann")
    assert foreign.post(client, RESULT, result_of(sent)).json() == {"state": "applied"}
    assert content.get(ASSET).properties == {"title": "Better", "rating": 5, "processed": True}


@pytest.mark.parametrize("state", ["ERROR", "GIVEN_UP", "STOPPED"])
def test_failure_ends_the_job_and_applies_no_content(client, foreign, sent, state):
    answer = foreign.post(client, RESULT, result_of(sent, state=state, message="too blue"))
    assert answer.json() == {"state": "applied"}
    assert (job_of(sent).state, job_of(sent).result_message) == (state, "too blue")
    assert content.get(ASSET).properties == {"title": "A"}


def test_copy_that_came_back_unrun_puts_the_job_back(client, foreign, sent):
    assert foreign.post(client, RESULT, result_of(sent, state="DROPPED", attempts=[])).json() == {"state": "applied"}
    job = job_of(sent)
    assert (job.state, job.target) == (JobState.QUEUED, "")
    assert job.fence > sent.fence


def fenced(response, words):
    assert response.status_code == 409
    assert response.json()["state"] == "fenced"
    assert words in response.json()["reason"]
    assert (back().state, words in back().error) == ("FENCED", True)
    assert content.get(MADE) is None


def test_result_of_a_job_that_moved_on_is_kept_aside(client, foreign, sent):
    blobs.store([b"small"])
    outcomes.release(job_id=sent.job_id, fence=sent.fence, message="taken back")
    for _ in range(2):
        fenced(foreign.post(client, RESULT, result_of(sent)), "had moved on")
    assert job_of(sent).state == JobState.QUEUED
    assert back().manifest["entries"]


@pytest.mark.parametrize("has_blob", [True, False])
def test_original_that_was_replaced_ends_the_job_with_the_reason_and_costs_no_transfer(client, foreign, sent, has_blob):
    if has_blob:
        blobs.store([b"small"])
    content.set_properties(path=ORIGINAL, binaries={"jcr:data": blobs.store([b"new"]).digest}, by="ann")
    fenced(foreign.post(client, RESULT, result_of(sent)), "was replaced meanwhile")
    assert job_of(sent).state == JobState.ERROR
    assert "was replaced meanwhile" in job_of(sent).result_message


def test_asset_that_was_removed_is_not_brought_back(client, foreign, sent):
    content.remove_node(path=ASSET, by="ann")
    fenced(foreign.post(client, RESULT, result_of(sent)), "removed or moved meanwhile")
    assert content.get(ASSET) is None
    assert job_of(sent).state == JobState.ERROR


def test_original_alone_removed_counts_as_well(client, foreign, sent):
    content.remove_node(path=ORIGINAL, by="ann")
    fenced(foreign.post(client, RESULT, result_of(sent)), "removed or moved meanwhile")


def test_result_outside_of_the_declared_output_is_not_applied(client, foreign, sent):
    result = result_of(sent)
    result["entries"].append({"path": "/etc/passwd", "primary_type": "x", "properties": {}, "binaries": {}})
    fenced(foreign.post(client, RESULT, result), "not in the job's output payload")
    assert content.get("/etc/passwd") is None
    assert job_of(sent).state == JobState.ERROR


def test_result_from_another_cluster_is_refused(client, foreign, sent):
    stranger = Foreign()
    stranger.announce()
    response = stranger.post(client, RESULT, result_of(sent))
    assert (response.status_code, response.json()["error"]) == (403, "not-the-target")
    assert job_of(sent).state == JobState.ACTIVE


def test_result_from_another_instance_of_the_target_cluster_is_welcome(client, foreign, sent):
    blobs.store([b"small"])
    sibling = Foreign(endpoint="http://127.0.0.1:4513/", cluster_id=foreign.cluster_id)
    sibling.announce()
    response = sibling.post(client, RESULT, result_of(sent))
    assert response.json() == {"state": "applied"}


def test_result_by_a_sibling_counts_though_the_target_itself_has_left(client, foreign, sent):
    blobs.store([b"small"])
    sibling = Foreign(endpoint="http://127.0.0.1:4513/", cluster_id=foreign.cluster_id)
    sibling.announce()
    foreign.leave()
    assert sibling.post(client, RESULT, result_of(sent)).json() == {"state": "applied"}


def test_sibling_that_the_topology_does_not_show_now_shall_try_again(client, foreign, sent):
    sibling = Foreign(endpoint="http://127.0.0.1:4513/", cluster_id=foreign.cluster_id)
    sibling.announce()
    keys.learn_all(topology.current_view())
    sibling.leave()
    response = sibling.post(client, RESULT, result_of(sent))
    assert (response.status_code, response.json()["error"]) == (401, "unknown-instance")
    assert response.json()["error"] not in transport_client.LASTING


def test_result_of_a_job_that_is_not_there_lets_the_target_clear_up(client, foreign, sent):
    Job.objects.all().delete()
    response = foreign.post(client, RESULT, result_of(sent))
    assert (response.status_code, response.json()["state"]) == (409, "fenced")
