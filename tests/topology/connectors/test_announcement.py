import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.connectors import announcement
from topology.connectors.announcement import AnnouncedInstance, Announcement, AnnouncementInvalid

# The example of the protocol's description, byte for byte.
EXAMPLE = (
    '{"ownerId":"A1","protocolVersion":1,"created":1369224000000,"inherited":false,'
    '"serverInfo":"author1.example.com:4502",'
    '"localClusterView":{"id":"cA","instances":['
    '{"slingId":"A1","isLeader":true,"cluster":"cA","properties":{"org.apache.sling.instance.name":"author1"}}]},'
    '"topologyAnnouncements":['
    '{"ownerId":"C1","protocolVersion":1,"created":1369224000000,"inherited":false,'
    '"localClusterView":{"id":"cC","instances":[{"slingId":"C1","isLeader":true,"cluster":"cC","properties":{}}]},'
    '"topologyAnnouncements":[]}]}'
)
LOOP = (
    '{"ownerId":"B1","protocolVersion":1,"created":1,"inherited":false,"loop":true,'
    '"backoffInterval":150,"topologyAnnouncements":[]}'
)

ids = st.from_regex(r"[A-Za-z0-9_-]{1,36}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
instances = st.builds(
    AnnouncedInstance,
    sling_id=ids,
    is_leader=st.booleans(),
    properties=st.dictionaries(st.from_regex(r"[a-zA-Z0-9._-]+", fullmatch=True), texts, max_size=3),
)


def announcements(nested):
    return st.builds(
        Announcement,
        owner_id=ids,
        cluster_id=st.from_regex(r"[^/\x00-\x1f\x7f.\ud800-\udfff]{1,36}", fullmatch=True),
        instances=st.lists(instances, max_size=3).map(tuple),
        nested=nested,
        is_inherited=st.booleans(),
        server_info=texts,
        backoff_seconds=st.integers(0, 1000),
        is_reset=st.booleans(),
        protocol_version=st.integers(-1, 3),
    )


@pytest.mark.parametrize(("text", "created_ms"), [(EXAMPLE, 1369224000000), (LOOP, 1)])
def test_known_text_is_read_and_written_alike(text, created_ms):
    assert announcement.dumps(announcement.loads(text), created_ms) == text


@given(announcements(st.lists(announcements(st.just(())), max_size=2).map(tuple)))
def test_whatever_is_written_is_read_back(told):
    text = announcement.dumps(told, 1)
    assert text.isascii()
    assert announcement.loads(text) == told


def changed(**changes):
    body = json.loads(EXAMPLE)
    for key, value in changes.items():
        if value is None:
            del body[key]
        else:
            body[key] = value
    return json.dumps(body)


def one_instance(**changes):
    facts = {"slingId": "A1", "isLeader": True, "properties": {}} | changes
    return changed(localClusterView={"id": "cA", "instances": [facts]})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "JSON object"),
        ("{}", "'ownerId'"),
        (changed(ownerId=None), "'ownerId'"),
        (changed(ownerId="a.b"), "'ownerId' is no sling id"),
        (changed(ownerId="x" * 37), "'ownerId' is no sling id"),
        (changed(protocolVersion=True), "'protocolVersion'"),
        (changed(protocolVersion="1"), "'protocolVersion'"),
        (changed(localClusterView=[]), "'localClusterView'"),
        (changed(topologyAnnouncements=None), "'topologyAnnouncements'"),
        (changed(topologyAnnouncements=[{}]), "'ownerId'"),
        (changed(localClusterView={"id": "c", "instances": [1]}), "instance must be"),
        *(
            (changed(localClusterView={"id": id, "instances": []}), "'id'")
            for id in ("", "a/b", "..", "a\nb", "x" * 256)
        ),
        (one_instance(slingId=7), "'slingId'"),
        (one_instance(isLeader=1), "'isLeader'"),
        (one_instance(properties={"a": 1}), "'properties'"),
        (one_instance(properties={"a": "nul \0"}), "'properties' is no clean text"),
        (one_instance(properties={"a": "half \ud800"}), "'properties' is no clean text"),
    ],
)
def test_bad_text_is_refused_with_what_is_wrong(text, what):
    with pytest.raises(AnnouncementInvalid, match=what):
        announcement.loads(text)


def test_too_deep_a_chain_is_refused():
    body = json.loads(EXAMPLE)
    for _ in range(announcement.MAX_DEPTH):
        body = json.loads(EXAMPLE) | {"topologyAnnouncements": [body]}
    with pytest.raises(AnnouncementInvalid, match="nested deeper"):
        announcement.loads(json.dumps(body))


def test_properties_with_bad_names_are_dropped():
    assert announcement.loads(one_instance(properties={"good": "1", "b d": "2"})).instances[0].properties == {
        "good": "1"
    }


def test_missing_version_counts_as_unknown():
    assert announcement.loads(changed(protocolVersion=None)).protocol_version == -1


def test_patience_without_end_is_cut_to_a_day():
    assert announcement.loads(changed(backoffInterval=10**30)).backoff_seconds == 86_400


def test_loop_takes_nothing_else_from_the_text():
    told = announcement.loads(changed(loop=True, backoffInterval=7))
    assert told == Announcement("A1", is_loop=True, backoff_seconds=7)


def test_instances_come_cluster_by_cluster():
    assert [instance.sling_id for instance in announcement.loads(EXAMPLE).all_instances()] == ["A1", "C1"]


@pytest.mark.parametrize(
    ("told", "is_valid"),
    [
        (Announcement("B1", is_loop=True), True),
        (Announcement("A1", "c", (AnnouncedInstance("A1", True, {}),)), True),
        (Announcement("A1", "c", (AnnouncedInstance("A1", True, {}),), protocol_version=2), False),
        (Announcement("A1", "c", (AnnouncedInstance("A2", True, {}),)), False),
        (Announcement("A1", "c"), False),
    ],
)
def test_owner_must_be_in_its_own_cluster(told, is_valid):
    assert told.is_valid() is is_valid


def test_what_concerns_one_request_does_not_count_as_news():
    plain, forced = announcement.loads(EXAMPLE), announcement.loads(changed(resetBackoff=True, backoffInterval=3))
    assert plain != forced
    assert plain.lasting() == forced.lasting()
