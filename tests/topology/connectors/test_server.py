import gzip
import json

import pytest

from tests.topology.conftest import RUN
from tests.topology.connectors.test_registry import cluster, register
from topology import services
from topology.connectors import announcement, envelope, trust
from topology.connectors.announcement import Announcement
from topology.connectors.trust import Direction
from topology.models import Announcement as Row
from topology.models import SeenSignature

pytestmark = pytest.mark.django_db

KEY = "a shared key"


@pytest.fixture(autouse=True)
def member(sling_id):
    services.join(RUN)
    services.establish_view()


@pytest.fixture
def signed(settings):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = KEY


def path_of(caller):
    return f"/libs/sling/topology/connector.{caller}.json"


def put(client, told, *, caller=None, path=None, headers=None, text=None, seal_path=None):
    path = path or path_of(caller or told.owner_id)
    sealed = envelope.seal(Direction.REQUEST, seal_path or path, text or announcement.dumps(told, 1))
    return client.put(path, sealed.body, "application/json", headers=sealed.headers | (headers or {}))


def delete(client, caller, headers=None):
    return client.delete(path_of(caller), headers=headers or envelope.seal_empty(path_of(caller)))


def reasons():
    return [(row.kind, row.caller, row.reason, row.count) for row in services.refusals()]


# --- In the clear -------------------------------------------------------------------------------------------------


def test_announcement_is_answered_with_ours(client, sling_id):
    response = put(client, cluster("b1"))
    assert response.status_code == 200
    reply = json.loads(response.content)
    assert list(reply) == [
        "ownerId",
        "protocolVersion",
        "created",
        "inherited",
        "localClusterView",
        "topologyAnnouncements",
    ]
    assert reply["ownerId"] == sling_id
    assert [each["slingId"] for each in reply["localClusterView"]["instances"]] == [sling_id]
    assert reply["topologyAnnouncements"] == []
    assert not services.current_view().get("b1").is_trusted


def test_answer_holds_what_others_announced_to_us_but_not_what_the_caller_did(client, sling_id):
    register(cluster("c1"), receiver=sling_id)
    reply = json.loads(put(client, cluster("b1")).content)
    assert [each["ownerId"] for each in reply["topologyAnnouncements"]] == ["c1"]


def test_caller_outside_the_allowlist_sees_nothing_and_is_recorded(client, settings, caplog):
    settings.OFFLOADING_CONNECTOR_WHITELIST = ["10.0.0.0/8"]
    for _ in range(2):
        response = put(client, cluster("b1"))
        assert (response.status_code, response.content) == (404, b"")
    assert delete(client, "b1").status_code == 404
    assert reasons() == [("connector", "127.0.0.1", "The caller is not in the allowlist.", 3)]
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == ["refused"]
    assert not Row.objects.exists()


def test_caller_may_be_allowed_by_its_name(client, settings):
    settings.OFFLOADING_CONNECTOR_WHITELIST = ["localhost"]
    assert put(client, cluster("b1")).status_code == 200


@pytest.mark.parametrize("name", ["connector.json", "connector.b1.xml", "connector.b.1.json", "connector"])
def test_other_addresses_do_not_exist(client, name):
    assert put(client, cluster("b1"), path=f"/libs/sling/topology/{name}").status_code == 404
    assert reasons() == []


@pytest.mark.parametrize("method", ["get", "post"])
def test_other_methods_are_not_allowed(client, method):
    assert getattr(client, method)(path_of("b1")).status_code == 405


def test_announcement_of_somebody_else_is_refused(client):
    assert put(client, cluster("b1"), caller="b2").status_code == 400
    assert reasons()[0][2] == "The announcement is not its sender's."


def test_other_protocol_version_is_refused(client):
    told = Announcement("b1", "c", cluster("b1").instances, protocol_version=2)
    assert put(client, told).status_code == 400


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '{"ownerId": "b1"}'])
def test_bad_text_is_refused(client, text):
    assert put(client, cluster("b1"), text=text).status_code == 500
    assert not Row.objects.exists()


def test_bytes_that_are_no_text_are_refused(client):
    assert client.put(path_of("b1"), b"\xff\xfe", "application/json").status_code == 500


def test_encrypted_text_without_a_key_here_says_so(client, settings):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = KEY
    sealed = envelope.seal(Direction.REQUEST, path_of("b1"), "{}")
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = ""
    response = client.put(path_of("b1"), sealed.body, "application/json", headers=sealed.headers)
    assert response.status_code == 500
    assert reasons()[0][2] == "The message is encrypted, and no shared key is set here."


def test_instance_of_our_own_cluster_is_a_loop(client, sling_id):
    response = put(client, cluster("b1", sling_id))
    assert json.loads(response.content)["loop"] is True
    assert not Row.objects.exists()


def test_our_own_last_reply_in_it_is_no_loop(client, sling_id):
    echo = Announcement(sling_id, "ours", cluster(sling_id).instances, is_inherited=True)
    assert "loop" not in json.loads(put(client, cluster("b1", nested=[echo])).content)
    assert json.loads(put(client, cluster("c1", nested=[cluster(sling_id)])).content)["loop"] is True


def test_second_way_to_the_same_instance_is_a_loop(client):
    put(client, cluster("b1", "b2"))
    assert json.loads(put(client, cluster("b2", "b1")).content) == {
        "ownerId": services.current_view().local_id,
        "protocolVersion": 1,
        "created": pytest.approx(envelope.now_ms(), abs=60_000),
        "inherited": False,
        "loop": True,
        "topologyAnnouncements": [],
    }


def test_without_a_view_of_our_own_there_is_no_answer_and_no_blame(client):
    services.leave()
    assert put(client, cluster("b1")).status_code == 503
    assert reasons() == []


def test_taken_back_is_gone_and_twice_is_harmless(client):
    put(client, cluster("b1"))
    assert delete(client, "b1").status_code == 200
    assert (delete(client, "b1").status_code, delete(client, "b1").content) == (200, b"")
    assert not Row.objects.exists()


def test_gzip_works_both_ways(client, sling_id):
    body = gzip.compress(announcement.dumps(cluster("b1"), 1).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    response = client.put(path_of("b1"), body, "application/json", headers=headers)
    assert response["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(response.content))["ownerId"] == sling_id


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(gzip.compress(b"cut off")[:-9], id="cut off"),
        pytest.param(gzip.compress(b"0" * (envelope.MAX_BYTES + 1)), id="too large"),
    ],
)
def test_bad_gzip_is_refused(client, body):
    headers = {"Content-Encoding": "gzip"}
    assert client.put(path_of("b1"), body, "application/json", headers=headers).status_code == 500


# --- Signed and encrypted -----------------------------------------------------------------------------------------


def test_signed_announcement_is_trusted_and_so_is_the_answer(client, signed, sling_id, settings):
    settings.OFFLOADING_CONNECTOR_WHITELIST = []
    response = put(client, cluster("b1"))
    assert set(json.loads(response.content)) == {"payload"}
    opened = envelope.unseal(Direction.RESPONSE, path_of("b1"), response.headers, response.content)
    assert announcement.loads(opened.text).owner_id == sling_id
    assert services.current_view().get("b1").is_trusted


def test_old_peer_is_answered_in_the_way_that_it_can_read(client, signed):
    text = trust.encrypt(announcement.dumps(cluster("b1"), 1), KEY, trust.Kdf.SHA1)
    headers = envelope._sign(Direction.REQUEST, path_of("b1"), text).headers()
    response = client.put(path_of("b1"), text, "application/json", headers=headers)
    assert trust.decrypt(response.content.decode(), KEY)[1] is trust.Kdf.SHA1


def test_wrong_key_sees_nothing_and_is_recorded(client, settings, signed):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = "another key"
    sealed = envelope.seal(Direction.REQUEST, path_of("b1"), "{}")
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = KEY
    response = client.put(path_of("b1"), sealed.body, "application/json", headers=sealed.headers)
    assert response.status_code == 404
    assert reasons() == [("connector", "127.0.0.1", "The shared key is a different one.", 1)]


def test_unsigned_request_sees_nothing_although_its_host_is_in_the_allowlist(client, signed):
    response = client.put(path_of("b1"), announcement.dumps(cluster("b1"), 1), "application/json")
    assert response.status_code == 404
    assert client.delete(path_of("b1")).status_code == 404
    assert reasons() == [("connector", "127.0.0.1", "The message is not signed.", 2)]


def test_tampered_body_is_refused(client, signed):
    sealed = envelope.seal(Direction.REQUEST, path_of("b1"), announcement.dumps(cluster("b1"), 1))
    body = sealed.body.replace(b'"]}', b'AAAA"]}')
    response = client.put(path_of("b1"), body, "application/json", headers=sealed.headers)
    assert response.status_code == 500
    assert reasons()[0][2] == "The message was changed on its way, or its path was."
    assert not SeenSignature.objects.exists()


def test_signature_for_another_path_is_refused(client, signed):
    assert put(client, cluster("b1"), seal_path=path_of("b2")).status_code == 500
    headers = envelope.seal_empty(path_of("b2"))
    assert client.delete(path_of("b1"), headers=headers).status_code == 500


def test_signature_of_an_announcement_does_not_take_one_back(client, signed):
    put(client, cluster("b1"))
    sealed = envelope.seal(Direction.REQUEST, path_of("b1"), announcement.dumps(cluster("b1"), 1))
    assert client.delete(path_of("b1"), headers=sealed.headers).status_code == 500
    assert Row.objects.exists()


def test_replayed_announcement_is_refused_and_keeps_nothing_alive(client, signed):
    sealed = envelope.seal(Direction.REQUEST, path_of("b1"), announcement.dumps(cluster("b1"), 1))
    statuses = [
        client.put(path_of("b1"), sealed.body, "application/json", headers=sealed.headers).status_code for _ in range(3)
    ]
    assert statuses == [200, 404, 404]
    assert reasons() == [("connector", "127.0.0.1", "The message is a replay of an earlier one.", 2)]


def test_instance_may_take_its_announcement_back_as_often_as_it_likes(client, signed):
    for _ in range(2):
        put(client, cluster("b1"))
        assert delete(client, "b1").status_code == 200
        assert not Row.objects.exists()
    assert reasons() == []


def test_replayed_taking_back_is_refused_and_recorded(client, signed):
    recorded = envelope.seal_empty(path_of("b1"))
    put(client, cluster("b1"))
    assert delete(client, "b1", recorded).status_code == 200
    put(client, cluster("b1"))
    assert delete(client, "b1", recorded).status_code == 404
    assert Row.objects.exists()
    assert reasons() == [("connector", "127.0.0.1", "The message is a replay of an earlier one.", 1)]


@pytest.mark.parametrize("nonce", ["", "another"])
def test_nonce_of_a_taking_back_cannot_be_exchanged(client, signed, nonce):
    put(client, cluster("b1"))
    headers = envelope.seal_empty(path_of("b1")) | {trust.NONCE_HEADER: nonce}
    assert delete(client, "b1", headers).status_code == 500
    assert Row.objects.exists()


def test_sling_which_sends_no_nonce_is_obeyed_once_in_a_key_period(client, signed):
    headers = envelope._sign(Direction.REQUEST, path_of("b1"), trust.NO_TEXT).headers()
    put(client, cluster("b1"))
    assert delete(client, "b1", headers).status_code == 200
    put(client, cluster("b1"))
    assert delete(client, "b1", headers).status_code == 404
    assert Row.objects.exists()
