"""The client against a real HTTP server that answers what a test tells it to."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.topology.conftest import RUN
from tests.topology.connectors.test_registry import cluster
from topology import services
from topology.connectors import announcement, client, envelope, trust
from topology.connectors.announcement import Announcement
from topology.models import Announcement as Row
from topology.models import Connector

pytestmark = pytest.mark.django_db


class Peer(HTTPServer):
    """Remembers requests; answers with `status`, `headers` and `body`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.requests = []
        self.status, self.headers, self.body = 200, {}, b""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/libs/sling/topology/connector"

    def tell(self, told):
        self.body = announcement.dumps(told, 1).encode()


class Answering(BaseHTTPRequestHandler):
    def do_PUT(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, self.headers, body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_DELETE = do_PUT

    def log_message(self, *args):
        pass


@pytest.fixture
def peer():
    with Peer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def connector(peer, sling_id):
    services.join(RUN)
    services.establish_view()
    return client.Connector(peer.url)


def status():
    return Connector.objects.get().status


def test_ping_is_a_real_announcement(peer, connector, sling_id, settings):
    settings.OFFLOADING_ENDPOINT = "http://author:4502/"
    peer.tell(cluster("b1"))
    connector.ping(forced=False)
    [(method, path, headers, body)] = peer.requests
    told = announcement.loads(body.decode())
    assert (method, path) == ("PUT", f"/libs/sling/topology/connector.{sling_id}.json")
    assert (headers["Content-Type"], headers["Accept-Encoding"]) == ("application/json", "gzip")
    assert (told.owner_id, told.server_info, told.is_reset) == (sling_id, "author:4502", False)
    assert status() == client.IN_USE
    row = Row.objects.get()
    assert (row.owner_id, row.inherited, row.is_trusted, row.connector_url) == ("b1", True, False, peer.url)


def test_news_ask_for_no_more_patience(peer, connector):
    peer.tell(cluster("b1"))
    connector.ping(forced=True)
    assert announcement.loads(peer.requests[0][3].decode()).is_reset


def test_patience_that_the_peer_asks_for_is_kept_except_for_news(peer, connector):
    told = cluster("b1")
    peer.tell(Announcement("b1", told.cluster_id, told.instances, backoff_seconds=60))
    connector.ping(forced=False)
    connector.ping(forced=False)
    assert len(peer.requests) == 1
    connector.ping(forced=True)
    assert len(peer.requests) == 2


def test_loop_is_standby_and_nothing_is_kept(peer, connector):
    peer.tell(Announcement("b1", is_loop=True))
    connector.ping(forced=False)
    assert status() == client.STANDBY
    assert not Row.objects.exists()


def test_without_a_current_view_nothing_is_said(peer, connector):
    services.leave()
    connector.ping(forced=True)
    assert peer.requests == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "probably refused"),
        (503, "has no cluster view"),
        (302, "see the other side's log"),
        (400, "ALLOWED_HOSTS"),
    ],
)
def test_other_answers_are_explained_and_logged_once(peer, connector, caplog, code, text):
    peer.status, peer.headers = code, {"Location": "/elsewhere"}
    connector.ping(forced=False)
    connector.ping(forced=False)
    assert len(peer.requests) == 2
    assert status().startswith(f"not ok (HTTP Status-Code: {code}, ")
    assert text in status()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["connector failed"]


def test_connector_that_works_again_says_so(peer, connector, caplog):
    caplog.set_level("INFO")
    peer.status = 404
    connector.ping(forced=False)
    peer.status = 200
    peer.tell(cluster("b1"))
    connector.ping(forced=False)
    assert "connector works again" in caplog.text
    assert Connector.objects.get().is_ok


def test_nobody_there_is_a_status_of_its_own(connector, sling_id):
    nowhere = client.Connector("http://127.0.0.1:1/libs/sling/topology/connector")
    nowhere.ping(forced=False)
    assert status() == "not ok (cannot connect)"
    nowhere.disconnect()


@pytest.mark.parametrize("body", [b"{", b"\xff", b"x" * 100])
def test_damaged_answer_is_refused(peer, connector, body):
    peer.body = body
    connector.ping(forced=False)
    assert status().startswith("not ok (reply refused: ")
    assert services.refusals().get().kind == "connector reply"


def answered(path, told):
    """Return what a peer with the key that is set would answer."""
    sealed = envelope.seal(trust.Direction.RESPONSE, path, announcement.dumps(told, 1))
    return sealed.body, sealed.headers


def test_answer_must_prove_the_shared_key(peer, connector, settings):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = "another key"
    peer.body, peer.headers = answered(connector.path, cluster("b1"))
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = "a shared key"
    connector.ping(forced=False)
    assert status() == "not ok (reply refused: The shared key is a different one.)"
    peer.tell(cluster("b1"))
    peer.headers = {}
    connector.ping(forced=False)
    assert status() == "not ok (reply refused: The message is not signed.)"
    assert not Row.objects.exists()


def test_answer_counts_once_and_for_its_own_path_alone(peer, connector, settings):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = "a shared key"
    peer.body, peer.headers = answered(connector.path, cluster("b1"))
    connector.ping(forced=False)
    assert (status(), Row.objects.get().is_trusted) == (client.IN_USE, True)
    connector.ping(forced=False)
    assert status() == "not ok (reply refused: The message is a replay of an earlier one.)"
    peer.body, peer.headers = answered("/another/path", cluster("b1"))
    connector.ping(forced=False)
    assert status() == "not ok (reply refused: The message was changed on its way, or its path was.)"


def test_farewell_takes_back_what_was_told_both_ways(peer, connector, settings):
    settings.OFFLOADING_CONNECTOR_SHARED_KEY = "a shared key"
    peer.body, peer.headers = answered(connector.path, cluster("b1"))
    connector.ping(forced=False)
    connector.disconnect()
    method, path, headers, body = peer.requests[-1]
    proof = trust.Proof(headers[trust.HASH_HEADER], headers[trust.TRUST_HEADER])
    trust.check_text(proof, trust.Direction.REQUEST, path, f"null:{headers['X-Offloading-Nonce']}")
    assert (method, body) == ("DELETE", b"")
    assert not Row.objects.exists()
