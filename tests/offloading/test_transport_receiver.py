"""Taking in jobs from another installation: offers, blobs, copies."""

import hashlib
import json
import uuid

import pytest

from content import blobs
from content import models as content_models
from content import services as content
from offloading.jobs import manager, outcomes, testing
from offloading.models import Job, Transfer
from offloading.transport import copies, payload
from tests.offloading.foreign import RUN, TOPIC, Foreign, establish
from topology import identity
from topology.models import Refusal

pytestmark = pytest.mark.django_db

OFFER = "/bin/receive"
ASSET = "/content/dam/a.jpg"


@pytest.fixture(autouse=True)
def instance(settings):
    settings.OFFLOADING_RUNTIME_ID = RUN
    establish()


@pytest.fixture
def foreign():
    foreign = Foreign()
    foreign.announce()
    return foreign


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def offer_of(foreign, *, data=b"", fence=1, job_id=None, **changes):
    binaries = {"jcr:data": {"digest": digest_of(data), "size": len(data)}} if data else {}
    return {
        "job": {
            "id": str(job_id or uuid.uuid4()),
            "topic": TOPIC,
            "title": "a.jpg",
            "properties": {payload.INPUT: ASSET, "colour": "blue"},
            "retries": 3,
            "retry_delay_seconds": 1.5,
            "time_limit_seconds": 60,
            "priority": 2,
        },
        "fence": fence,
        "origin": {"sling_id": foreign.sling_id, "cluster_id": foreign.cluster_id, "endpoint": foreign.endpoint},
        "entries": [
            {"path": ASSET, "primary_type": "dam:Asset", "properties": {}, "binaries": {}},
            {"path": f"{ASSET}/data", "primary_type": "nt:file", "properties": {"n": 1}, "binaries": binaries},
        ],
        "outputs": [ASSET],
        "moved": {"blobs": 0, "bytes": 0},
    } | changes


def put(foreign, client, data, *, offset=0, block=None, size=None):
    digest = digest_of(data)
    path = f"/bin/receive/blobs/{digest}?offset={offset}&size={len(data) if size is None else size}"
    return foreign.call(client, "PUT", path, data[offset:] if block is None else block)


def test_offer_without_binaries_is_queued_at_once(client, foreign):
    offer = offer_of(foreign)
    assert foreign.post(client, OFFER, offer).json() == {"state": "queued"}
    job = Job.objects.get(id=offer["job"]["id"])
    assert (job.topic, job.title, job.state, job.fence) == (TOPIC, "a.jpg", "QUEUED", 1)
    assert (job.origin, job.origin_fence, job.target) == (foreign.sling_id, 1, identity.sling_id())
    assert (job.retries, job.retry_delay_seconds, job.time_limit_seconds, job.priority) == (3, 1.5, 60, 2)
    assert job.properties["colour"] == "blue"
    assert content.get(f"{payload.root(job.id)}{ASSET}/data").properties == {"n": 1}
    arrival = Transfer.objects.get()
    assert (arrival.direction, arrival.is_sender, arrival.state) == ("OUT", False, "DONE")


def test_missing_blobs_are_asked_for_and_taken_in_pieces(client, foreign):
    data = b"0123456789"
    offer = offer_of(foreign, data=data)
    missing = {"digest": digest_of(data), "size": 10, "offset": 0}
    answer = foreign.post(client, OFFER, offer).json()
    assert answer["state"] == "missing"
    assert answer["blobs"] == [missing]
    assert not Job.objects.exists()
    assert put(foreign, client, data, block=b"0123").json() == {"offset": 4, "complete": False}
    assert foreign.post(client, OFFER, offer).json()["blobs"] == [missing | {"offset": 4}]
    assert put(foreign, client, data, offset=4).json() == {"offset": 10, "complete": True}
    offer["moved"] = {"blobs": 1, "bytes": 10}
    assert foreign.post(client, OFFER, offer).json() == {"state": "queued"}
    arrival = Transfer.objects.get()
    assert (arrival.bytes_total, arrival.bytes_moved, arrival.blobs_total, arrival.blobs_moved) == (10, 10, 1, 1)
    with blobs.open_blob(digest_of(data)) as file:
        assert file.read() == data


def test_known_blob_does_not_travel(client, foreign):
    blobs.store([b"known"])
    assert foreign.post(client, OFFER, offer_of(foreign, data=b"known")).json() == {"state": "queued"}
    assert put(foreign, client, b"known").json() == {"offset": 5, "complete": True}


def test_empty_blob_travels_as_well(client, foreign):
    assert put(foreign, client, b"").json() == {"offset": 0, "complete": True}
    assert not blobs.missing([digest_of(b"")])


def named(*some):
    return "/bin/receive/blobs?" + "&".join(f"blob={digest_of(data)}:{len(data)}" for data in some)


def test_small_blobs_come_together(client, foreign):
    some = (b"one", b"", b"three")
    response = foreign.call(client, "PUT", named(*some), b"".join(some))
    assert response.json() == {"state": "stored"}
    assert blobs.missing([digest_of(data) for data in some]) == []


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (named(b"one", b"two"), b"onetwX", "blob-mismatch"),
        (named(b"one", b"two"), b"onetw", "malformed"),
        ("/bin/receive/blobs", b"", "malformed"),
        ("/bin/receive/blobs?blob=../x:3", b"one", "malformed"),
    ],
)
def test_small_blobs_that_are_not_what_they_say_are_refused(client, foreign, path, body, error):
    response = foreign.call(client, "PUT", path, body)
    assert (response.status_code, response.json()["error"]) == (400, error)
    assert blobs.missing([digest_of(b"two")])


def test_block_at_the_wrong_place_is_told_the_right_one(client, foreign):
    put(foreign, client, b"0123456789", block=b"0123")
    response = put(foreign, client, b"0123456789", offset=6)
    assert (response.status_code, response.json()) == (409, {"offset": 4, "complete": False})
    response = put(foreign, client, b"0123456789", block=b"0123")
    assert (response.status_code, response.json()) == (409, {"offset": 4, "complete": False})


def test_blob_that_is_not_what_it_says_is_discarded(client, foreign):
    response = put(foreign, client, b"0123456789", block=b"012345678X")
    assert (response.status_code, response.json()["error"]) == (400, "blob-mismatch")
    assert blobs.partial_size(digest_of(b"0123456789")) == 0
    assert put(foreign, client, b"0123456789").json()["complete"]


@pytest.mark.parametrize("query", ["", "?offset=0", "?offset=-1&size=5", "?offset=a&size=5", "?offset=0&size=%C2%B2"])
def test_block_needs_offset_and_size(client, foreign, query):
    response = foreign.call(client, "PUT", f"/bin/receive/blobs/{digest_of(b'hello')}{query}", b"hello")
    assert (response.status_code, response.json()["error"]) == (400, "malformed")


def test_blob_needs_a_digest_for_a_name(client, foreign):
    response = foreign.call(client, "PUT", "/bin/receive/blobs/secret.key?offset=0&size=5", b"hello")
    assert (response.status_code, response.json()["error"]) == (400, "malformed")


def test_blob_above_the_limit_is_refused(client, foreign, settings):
    settings.OFFLOADING_UPLOAD_BYTES = 100
    assert put(foreign, client, b"hello", size=101).json()["error"] == "too-large"
    assert put(foreign, client, b"hello", size=4).json()["error"] == "too-large"


def test_repeated_offer_gets_the_same_answer_without_being_done_twice(client, foreign):
    offer = offer_of(foreign)
    for _ in range(2):
        assert foreign.post(client, OFFER, offer).json() == {"state": "queued"}
    assert Job.objects.count() == Transfer.objects.count() == 1


def test_newer_offer_replaces_the_copy_whose_run_is_then_too_late(client, foreign):
    offer = offer_of(foreign)
    foreign.post(client, OFFER, offer)
    claim = testing.claim_next()
    newer = offer | {"fence": 3}
    newer["entries"] = offer["entries"][:1]
    assert foreign.post(client, OFFER, newer).json() == {"state": "queued"}
    job = Job.objects.get()
    assert (job.state, job.origin_fence, job.claimed_by) == ("QUEUED", 3, "")
    assert job.fence > claim.fence
    with pytest.raises(outcomes.exceptions.StaleFence):
        outcomes.succeed(job_id=job.id, fence=claim.fence)
    assert job.attempts.get().outcome == "FENCED"
    assert content.get(f"{payload.root(job.id)}{ASSET}/data") is None


def test_older_offer_is_fenced(client, foreign):
    offer = offer_of(foreign, fence=3)
    foreign.post(client, OFFER, offer)
    response = foreign.post(client, OFFER, offer | {"fence": 2})
    assert (response.status_code, response.json()["state"]) == (409, "fenced")
    assert Job.objects.get().origin_fence == 3


def test_newer_offer_may_come_from_another_instance_of_the_same_cluster_only(client, foreign):
    sibling = Foreign(endpoint="http://127.0.0.1:4513/")
    stranger = Foreign(endpoint="http://127.0.0.1:4514/")
    sibling.cluster_id = foreign.cluster_id
    sibling.announce()
    stranger.announce()
    offer = offer_of(foreign)
    foreign.post(client, OFFER, offer)
    response = stranger.post(client, OFFER, offer_of(stranger, fence=2, job_id=offer["job"]["id"]))
    assert (response.status_code, response.json()["error"]) == (403, "not-the-origin")
    response = sibling.post(client, OFFER, offer_of(sibling, fence=2, job_id=offer["job"]["id"]))
    assert response.json() == {"state": "queued"}


def test_instance_cannot_offer_in_the_name_of_another(client, foreign):
    response = foreign.post(client, OFFER, offer_of(Foreign()))
    assert (response.status_code, response.json()["error"]) == (403, "not-the-origin")


def test_job_of_this_installation_is_not_replaced_by_an_offer(client, foreign):
    job = manager.add_job(TOPIC)
    response = foreign.post(client, OFFER, offer_of(foreign, job_id=job.id, fence=9))
    assert (response.status_code, response.json()["error"]) == (403, "not-a-copy")
    assert Refusal.objects.filter(reason__startswith="not-a-copy").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"fence": -1},
        {"fence": 2**63 - 1},
        {"entries": [{"path": "/a/../b", "primary_type": "x", "properties": {}, "binaries": {}}]},
        {"entries": [{"path": "/" + "/".join("a" * 64), "primary_type": "x", "properties": {}, "binaries": {}}]},
        {"outputs": ["relative"]},
        {"moved": {"blobs": 1}},
        {"origin": {"sling_id": "../x", "cluster_id": "", "endpoint": ""}},
    ],
)
def test_offer_that_is_none_is_refused(client, foreign, change):
    response = foreign.post(client, OFFER, offer_of(foreign) | change)
    assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {"a": float("nan")}},
        {"properties": {"a": ["NUL \0"]}},
        {"properties": {"half \ud800": 1}},
        {"title": "half \ud800"},
        {"retries": 2**31},
        {"priority": 2**31},
    ],
)
def test_job_that_no_database_could_keep_is_refused(client, foreign, change):
    offer = offer_of(foreign)
    response = foreign.post(client, OFFER, offer | {"job": offer["job"] | change})
    assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert not Job.objects.exists()


def test_properties_without_end_are_refused(client, foreign):
    offer = offer_of(foreign)
    entry = offer["entries"][1]
    nested = b"[" * 900 + b"]" * 900
    for change in (
        {"job": offer["job"] | {"properties": {"a": "DEEP"}}},
        {"entries": [offer["entries"][0], entry | {"properties": {"a": "DEEP"}}]},
    ):
        body = json.dumps(offer | change).encode().replace(b'"DEEP"', nested)
        response = foreign.call(client, "POST", OFFER, body)
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert not Job.objects.exists()


def test_entries_with_a_gap_or_twice_are_refused_and_nothing_stays(client, foreign):
    offer = offer_of(foreign)
    for entries in (offer["entries"] * 2, [offer["entries"][0], offer["entries"][1] | {"path": f"{ASSET}/x/y"}]):
        response = foreign.post(client, OFFER, offer | {"entries": entries})
        assert (response.status_code, response.json()["error"]) == (400, "malformed")
    assert not Job.objects.exists()
    assert not content_models.Node.objects.filter(path__startswith=payload.FOLDER).exists()


def test_cleared_copy_leaves_its_history_and_nothing_else(client, foreign, django_capture_on_commit_callbacks):
    data = b"only here"
    put(foreign, client, data)
    offer = offer_of(foreign, data=data)
    foreign.post(client, OFFER, offer)
    shared = blobs.store([b"shared"]).digest
    content.create_node(path="/kept", primary_type="nt:file", binaries={"jcr:data": shared}, by="ann")
    root = payload.root(offer["job"]["id"])
    content.create_node(
        path=f"{root}/made", primary_type="nt:file", binaries={"jcr:data": shared, "own": digest_of(data)}, by="job"
    )
    with django_capture_on_commit_callbacks(execute=True):
        copies.clear(uuid.UUID(offer["job"]["id"]), origin_fence=1)
    assert not content_models.Node.objects.filter(path__startswith=root).exists()
    job = Job.objects.get()
    assert (job.topic, job.properties) == (TOPIC, {})
    assert blobs.missing([shared]) == []


def test_copy_under_a_newer_fence_is_not_cleared_by_an_older_answer(client, foreign):
    offer = offer_of(foreign, fence=2)
    foreign.post(client, OFFER, offer)
    copies.clear(uuid.UUID(offer["job"]["id"]), origin_fence=1)
    assert Job.objects.get().properties != {}
    assert content.get(f"{payload.root(offer['job']['id'])}{ASSET}") is not None


def test_offer_is_json_of_any_size_that_fits(client, foreign):
    offer = offer_of(foreign)
    offer["job"]["properties"]["text"] = "x" * 3_000_000
    assert len(json.dumps(offer)) > 2_621_440
    assert foreign.post(client, OFFER, offer).json() == {"state": "queued"}
