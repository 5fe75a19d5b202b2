"""Results on their way home: against a real HTTP server that plays the origin."""

import hashlib
import json
import uuid

import pytest

from content import models as content_models
from content import services as content
from content.session import Session
from offloading import exceptions
from offloading.jobs import manager, outcomes, testing
from offloading.models import Job, JobState, Transfer
from offloading.transport import agent, client, copies, messages, payload
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish, http_server
from topology import identity

pytestmark = pytest.mark.django_db

ASSET = "/content/dam/a.jpg"
MADE = b"made here"


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()
    yield
    client.close()


class Origin:
    """An origin that takes what comes, or answers as it is told to."""

    def __init__(self):
        self.arrived = {}
        self.replies = []

    def __call__(self, method, path, body):
        if self.replies:
            return self.replies.pop(0)
        if method == "PUT":
            self.arrived[path.partition("?blob=")[2].partition(":")[0]] = body
            return 200, {"state": "stored"}
        sizes = {
            each["digest"]: each["size"] for entry in json.loads(body)["entries"] for each in entry["binaries"].values()
        }
        missing = [{"digest": key, "size": size, "offset": 0} for key, size in sizes.items() if key not in self.arrived]
        return 200, ({"state": "missing", "blobs": missing, "block_bytes": 999} if missing else {"state": "applied"})


@pytest.fixture
def origin():
    return Origin()


@pytest.fixture
def home(origin):
    with http_server(origin) as (endpoint, asked):
        foreign = Foreign(endpoint=endpoint)
        foreign.announce()
        foreign.asked = asked
        yield foreign


@pytest.fixture
def claim(home):
    """Take in a copy and claim it, as a worker would."""
    offer = messages.Offer(
        job_id=uuid.uuid4(),
        fence=4,
        topic=TOPIC,
        title="",
        properties={payload.OUTPUT: ASSET},
        retries=0,
        retry_delay_seconds=1,
        time_limit_seconds=None,
        priority=0,
        origin=messages.Origin(home.sling_id, home.cluster_id, home.endpoint),
        entries=[{"path": ASSET, "primary_type": "dam:Asset", "properties": {}, "binaries": {}}],
        outputs=(ASSET,),
    )
    assert copies.accept(offer, caller=home.sling_id) is None
    claim = testing.claim_next(label="l:1")
    return claim


def succeed(claim):
    session = Session(root=payload.root(claim.job_id), by="job")
    session.put(f"{ASSET}/made", "nt:file", binaries={"jcr:data": session.store([MADE])})
    session.save()
    outcomes.succeed(job_id=claim.job_id, fence=claim.fence, message="done", log="line\n")


def back():
    return Transfer.objects.get(direction="BACK")


def move():
    Transfer.objects.filter(direction="BACK").update(next_try_at=None)
    agent.move(back().id, lambda: None)
    return back()


def test_result_comes_home_and_nothing_but_history_stays(claim, home, origin, django_capture_on_commit_callbacks):
    succeed(claim)
    assert (back().state, back().fence, back().peer) == ("WAITING", 4, home.sling_id)
    with django_capture_on_commit_callbacks(execute=True):
        transfer = move()
    assert (transfer.state, transfer.bytes_moved, transfer.blobs_moved) == ("DONE", len(MADE), 1)
    assert origin.arrived == {hashlib.sha256(MADE).hexdigest(): MADE}
    result = json.loads(home.asked[-1][2])
    assert (result["state"], result["message"], result["fence"]) == ("SUCCEEDED", "done", 4)
    assert [entry["path"] for entry in result["entries"]] == [ASSET, f"{ASSET}/made"]
    [attempt] = result["attempts"]
    assert (attempt["instance_label"], attempt["outcome"], attempt["log"]) == ("l:1", "SUCCEEDED", "line\n")
    assert attempt["fence"] > 4
    assert not content_models.Node.objects.filter(path__startswith=payload.root(claim.job_id)).exists()
    job = Job.objects.get()
    assert (job.state, job.properties, job.attempts.count()) == (JobState.SUCCEEDED, {}, 1)


def test_payload_is_kept_until_the_origin_has_answered(claim, home, origin):
    succeed(claim)
    origin.replies = [(500, {"error": "busy"})]
    assert move().state == "WAITING"
    assert content.get(f"{payload.root(claim.job_id)}{ASSET}/made") is not None
    assert move().state == "DONE"


def test_fenced_result_is_cleared_away_as_well_and_says_why(claim, home, origin):
    succeed(claim)
    origin.replies = [(409, {"state": "fenced", "reason": "The job had moved on."})]
    transfer = move()
    assert (transfer.state, transfer.error) == ("FENCED", "The job had moved on.")
    assert content.get(payload.root(claim.job_id)) is None


def test_failure_brings_its_message_and_no_content(claim, home):
    outcomes.error(job_id=claim.job_id, fence=claim.fence, message="too blue")
    assert move().state == "DONE"
    result = json.loads(home.asked[-1][2])
    assert (result["state"], result["message"], result["entries"]) == ("ERROR", "too blue", [])


def test_success_without_its_output_is_an_error(claim, home):
    content.remove_node(path=f"{payload.root(claim.job_id)}{ASSET}", by="job")
    outcomes.succeed(job_id=claim.job_id, fence=claim.fence)
    move()
    result = json.loads(home.asked[-1][2])
    assert result["state"] == "ERROR"
    assert "output is not there" in result["message"]


def test_result_that_the_origin_will_never_take_is_parked_and_kept(claim, home, origin):
    succeed(claim)
    origin.replies = [(403, {"error": "not-the-target", "remedy": "Leave it alone."})]
    assert move().state == "PARKED"
    assert content.get(f"{payload.root(claim.job_id)}{ASSET}") is not None


def test_any_instance_of_the_origin_will_do(claim, home):
    succeed(claim)
    home.leave()
    assert "No instance of the origin's cluster" in move().error
    sibling = Foreign(endpoint=home.endpoint, cluster_id=home.cluster_id)
    sibling.announce()
    assert move().state == "DONE"


def test_job_of_this_installation_brings_nothing_home():
    job = manager.add_job("acme/here")
    Job.objects.update(target=identity.sling_id())
    claim = testing.claim_next(label="l:1")
    outcomes.succeed(job_id=job.id, fence=claim.fence)
    assert not Transfer.objects.exists()


def test_retry_that_is_not_the_end_brings_nothing_home(claim):
    Job.objects.update(retries=5)
    outcomes.write(outcomes.Ending(claim.job_id, claim.fence, outcomes.Kind.FAILED))
    assert not Transfer.objects.filter(direction="BACK").exists()


def test_copy_whose_result_is_still_here_cannot_be_removed(claim, home, origin):
    succeed(claim)
    with pytest.raises(exceptions.TransitionRefused, match="has not been taken in"):
        manager.remove_job(claim.job_id, by="ann")
    assert move().state == "DONE"
    manager.remove_job(claim.job_id, by="ann")
    assert manager.get_job(claim.job_id) is None
