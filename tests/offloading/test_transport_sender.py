"""Sending jobs: against a real HTTP server that plays the target."""

import json

import pytest

from content import blobs
from content import services as content
from offloading.jobs import manager, outcomes
from offloading.models import Job, JobState, Transfer
from offloading.transport import agent, client, courier, messages, payload, sender
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish, http_server
from topology import services as topology

pytestmark = pytest.mark.django_db

ASSET = "/content/dam/a.jpg"
DATA = b"0123456789"


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    settings.OFFLOADING_TRANSPORT_BLOCK_BYTES = 4
    establish()
    yield
    client.close()


@pytest.fixture
def job():
    content.ensure_folder(path="/content/dam", by="ann")
    binaries = {"jcr:data": blobs.store([DATA]).digest}
    content.create_node(path=ASSET, primary_type="dam:Asset", binaries=binaries, by="ann")
    return add


def add(**properties):
    """Add a job for the foreign instance, and take it for transport."""
    job = manager.add_job(TOPIC, {payload.INPUT: ASSET, payload.OUTPUT: ASSET} | properties)
    sender.take_jobs(topology.current_view())
    return job


class Target:
    """A target that keeps what arrives, and does what it is told to do next."""

    def __init__(self):
        self.arrived = {}
        self.block_bytes = 1000
        self.replies = []

    def __call__(self, method, path, body):
        if self.replies and (reply := self.replies.pop(0)):
            return reply
        if "?blob=" in path:
            for name in path.partition("?")[2].split("&"):
                digest, _, size = name.removeprefix("blob=").partition(":")
                self.arrived[digest], body = body[: int(size)], body[int(size) :]
            return 200, {"state": "stored"}
        if method == "PUT":
            digest = path.split("/")[-1].split("?")[0]
            self.arrived[digest] = self.arrived.get(digest, b"") + body
            offset = len(self.arrived[digest])
            return 200, {"offset": offset, "complete": path.endswith(f"&size={offset}")}
        sizes = {
            each["digest"]: each["size"] for entry in json.loads(body)["entries"] for each in entry["binaries"].values()
        }
        missing = [
            {"digest": digest, "size": size, "offset": len(self.arrived.get(digest, b""))}
            for digest, size in sizes.items()
            if len(self.arrived.get(digest, b"")) < size
        ]
        if missing:
            return 200, {"state": "missing", "blobs": missing, "block_bytes": self.block_bytes}
        return 200, {"state": "queued"}


@pytest.fixture
def target():
    return Target()


@pytest.fixture
def asked(target):
    with http_server(target) as (endpoint, asked):
        Foreign(endpoint=endpoint).announce()
        yield asked


def move(go_on=lambda: None):
    Transfer.objects.update(next_try_at=None)
    agent.move(Transfer.objects.get().id, go_on)
    return Transfer.objects.get()


def test_job_travels_with_its_payload_in_blocks(job, target, asked):
    added = job(colour="blue")
    transfer = move()
    assert (transfer.state, transfer.error) == ("DONE", "")
    assert (transfer.blobs_moved, transfer.bytes_moved, transfer.bytes_total) == (1, 10, 10)
    assert list(target.arrived.values()) == [DATA]
    assert [len(body) for method, _, body, _ in asked if method == "PUT"] == [4, 4, 2]
    offer = json.loads(asked[-1][2])
    assert offer["job"]["properties"]["colour"] == "blue"
    assert (offer["fence"], offer["outputs"], offer["moved"]) == (1, [ASSET], {"blobs": 1, "bytes": 10})
    assert Job.objects.get(id=added.id).state == JobState.ACTIVE


@pytest.mark.parametrize(
    ("own", "sent"), [(None, None), (90.0, 90.0), (-1.0, 0.0), (10 * 366 * 86_400.0, 366 * 86_400)]
)
def test_time_limit_of_the_job_travels_along(job, asked, own, sent):
    Job.objects.filter(id=job().id).update(time_limit_seconds=own)
    assert move().state == "DONE"
    assert json.loads(asked[-1][2])["job"]["time_limit_seconds"] == sent


def test_small_blobs_travel_together(job, target, asked):
    for name in ("a", "b"):
        digest = blobs.store([name.encode()]).digest
        content.create_node(path=f"{ASSET}/{name}", primary_type="nt:file", binaries={"jcr:data": digest}, by="ann")
    job()
    transfer = move()
    assert (transfer.state, transfer.blobs_moved, transfer.bytes_moved) == ("DONE", 3, 12)
    assert [len(body) for method, _, body, _ in asked if method == "PUT"] == [2, 4, 4, 2]
    assert set(target.arrived.values()) == {DATA, b"a", b"b"}


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], []), ([11], []), ([4, 4, 4], [[4, 4], [4]]), ([0, 10, 0], [[0, 10, 0]]), ([1] * 100, [[1] * 10] * 10)],
)
def test_small_blobs_are_grouped_into_blocks(sizes, expected):
    partials = [messages.Partial("a" * 64, size, 0) for size in sizes]
    assert [[blob.size for blob in some] for some in courier.batches(partials, 10)] == expected


def test_no_address_names_too_many_blobs_and_what_has_begun_is_gone_on_with():
    many = [messages.Partial("a" * 64, 0, 0)] * (courier.MOST_TOGETHER + 1)
    assert [len(some) for some in courier.batches(many, 10)] == [courier.MOST_TOGETHER, 1]
    assert courier.batches([messages.Partial("a" * 64, 9, 3)], 10) == []


def test_smaller_block_size_of_the_target_is_respected(job, target, asked):
    target.block_bytes = 3
    job()
    move()
    assert [len(body) for method, _, body, _ in asked if method == "PUT"] == [3, 3, 3, 1]


def test_broken_line_costs_no_more_than_a_block(job, target, asked):
    job()
    target.replies = [None, None, (503, {"error": "busy"})]
    transfer = move()
    assert (transfer.state, transfer.bytes_moved, transfer.tries) == ("WAITING", 4, 1)
    assert "503" in transfer.error
    assert transfer.next_try_at is not None
    transfer = move()
    assert (transfer.state, transfer.bytes_moved, transfer.tries) == ("DONE", 10, 2)
    assert list(target.arrived.values()) == [DATA]


def test_target_says_from_where_to_go_on(job, target, asked):
    job()
    digest = blobs.store([DATA]).digest
    behind = {"digest": digest, "size": 10, "offset": 0}
    target.replies = [
        (200, {"state": "missing", "blobs": [behind], "block_bytes": 9}),
        (409, {"offset": 2, "complete": False}),
    ]
    target.arrived[digest] = b"01"
    transfer = move()
    assert (transfer.state, transfer.bytes_moved) == ("DONE", 8)
    assert list(target.arrived.values()) == [DATA]


@pytest.mark.parametrize(
    "reply",
    [
        (401, {"error": "key-pending", "remedy": "approve it"}),
        (500, b"<html>oops</html>"),
        (200, b"<html>another product</html>"),
        (302, b""),
        (404, b"not found"),
        (200, {"state": "missing"}),
        (200, {"state": "missing", "blobs": [{"digest": "a" * 64, "size": 1, "offset": 0}], "block_bytes": 9}),
    ],
)
def test_trouble_is_shown_and_tried_again_later(job, target, asked, reply):
    added = job()
    target.replies = [reply]
    transfer = move()
    assert transfer.state == "WAITING"
    assert transfer.error
    assert transfer.next_try_at is not None
    assert Job.objects.get(id=added.id).state == JobState.ACTIVE
    assert move().state == "DONE"


def test_remedy_of_the_peer_is_shown(job, target, asked):
    job()
    target.replies = [(401, {"error": "key-pending", "remedy": "Run: manage.py peerkeys approve 12:34"})]
    assert "peerkeys approve 12:34" in move().error


def test_target_without_server_is_tried_again(job):
    Foreign(endpoint="http://127.0.0.1:9/").announce()
    job()
    transfer = move()
    assert transfer.state == "WAITING"
    assert "does not answer" in transfer.error


def test_target_that_does_not_get_on_is_not_asked_for_ever(job, target, asked):
    job()
    target.replies = [None, *[(409, {"offset": 0, "complete": False})] * 3]
    assert "does not get on" in move().error


def test_lasting_refusal_ends_the_job_as_an_error(job, target, asked):
    added = job()
    target.replies = [(400, {"error": "malformed", "remedy": "Run the same version on both sides."})]
    transfer = move()
    assert transfer.state == "PARKED"
    ended = Job.objects.get(id=added.id)
    assert ended.state == JobState.ERROR
    assert "same version" in ended.result_message


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({payload.INPUT: "/content/dam/gone.jpg"}, "/content/dam/gone.jpg"),
        ({payload.INPUT: "dam/a.jpg"}, "not absolute"),
        ({payload.OUTPUT: "../x"}, "not absolute"),
    ],
)
def test_job_that_cannot_be_packed_ends_with_the_reason(job, asked, properties, words):
    added = job(**properties)
    transfer = move()
    assert (transfer.state, asked) == ("PARKED", [])
    ended = Job.objects.get(id=added.id)
    assert ended.state == JobState.ERROR
    assert words in ended.result_message


def test_job_that_was_taken_back_is_not_sent(job, asked):
    added = job()
    outcomes.release(job_id=added.id, fence=1, message="target gone")
    transfer = move()
    assert (transfer.state, asked) == ("FENCED", [])
    assert "taken back" in transfer.error


def test_job_taken_back_on_the_way_is_given_up_at_the_next_block(job, target, asked):
    added = job()
    steps = iter(range(10))

    def go_on():
        if next(steps) == 3:
            outcomes.release(job_id=added.id, fence=1, message="target gone")

    transfer = move(go_on)
    assert transfer.state == "FENCED"
    assert transfer.bytes_moved < 10


def test_target_that_knows_the_job_under_a_higher_fence_gets_it_under_a_higher_one_still(job, target, asked):
    added = job()
    target.replies = [(409, {"state": "fenced", "reason": "fence 7"})]
    assert move().state == "FENCED"
    again = Job.objects.get(id=added.id)
    assert (again.state, again.fence, again.target) == (JobState.QUEUED, 2, "")


def test_stopping_process_leaves_the_transfer_to_the_next_one(job, target, asked):
    job()
    steps = iter(range(10))

    def go_on():
        if next(steps) == 3:
            raise agent.Stopping

    transfer = move(go_on)
    assert (transfer.state, transfer.claimed_by, transfer.error) == ("WAITING", "", "")
    assert move().state == "DONE"
    assert list(target.arrived.values()) == [DATA]


def test_target_that_is_not_in_the_topology_is_waited_for(job, target):
    with http_server(target) as (endpoint, _):
        foreign = Foreign(endpoint=endpoint)
        foreign.announce()
        job()
        foreign.leave()
        assert "not in the topology" in move().error


def test_jobs_are_taken_up_to_a_bound_for_each_peer(asked, monkeypatch):
    monkeypatch.setattr(sender, "MOST_UNDER_WAY", 3)
    for _ in range(5):
        manager.add_job(TOPIC)
    view = topology.current_view()
    assert sender.take_jobs(view) == 3
    assert sender.take_jobs(view) == 0
    Transfer.objects.filter(id=Transfer.objects.first().id).update(state="DONE")
    assert sender.take_jobs(view) == 2


def test_paused_peer_is_sent_nothing(asked):
    manager.add_job(TOPIC)
    view = topology.current_view()
    [peer] = [each.sling_id for each in view.instances if not each.is_local]
    assert sender.take_jobs(view, paused={peer}) == 0
