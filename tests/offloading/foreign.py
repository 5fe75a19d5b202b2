"""An instance of another installation, as far as this one can tell: announced, with a key, and an HTTP server."""

import base64
import datetime
import http.server
import json
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from offloading.jobs import distribution
from offloading.transport import keys, signing
from topology import heartbeat, identity, snapshot
from topology.connectors import announcement, registry

RUN = "22222222-2222-4222-8222-222222222222"
TOPIC = "acme/far/away"


@dataclass
class Foreign:
    """Another installation with one instance."""

    endpoint: str = "http://127.0.0.1:4512/"
    sling_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    cluster_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    topics: tuple[str, ...] = (TOPIC,)

    @property
    def public_key(self):
        return base64.b64encode(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def announce(self, *, is_trusted=True, **properties):
        """Have this installation told of it, over a connector."""
        told = {
            snapshot.ENDPOINTS: self.endpoint,
            keys.PROPERTY: self.public_key,
            distribution.REGISTERED_TOPICS: ",".join(self.topics),
            distribution.CONSUMER_TOPICS: ",".join(self.topics),
            distribution.WHITELIST: "*",
            distribution.BLACKLIST: "",
        }
        instance = announcement.AnnouncedInstance(self.sling_id, True, told | properties)
        body = announcement.Announcement(self.sling_id, self.cluster_id, (instance,))
        registry.register(body, receiver=identity.sling_id(), inherited=False, is_trusted=is_trusted)

    def leave(self):
        registry.unregister(receiver=identity.sling_id(), owner_id=self.sling_id)

    def headers(self, method, path, body, *, key=None, now=None, sling_id=None):
        from django.conf import settings

        return signing.sign(
            method=method,
            url=settings.OFFLOADING_ENDPOINT.rstrip("/") + path,
            body=body,
            sling_id=sling_id or self.sling_id,
            key=key or self.key,
            now=now or datetime.datetime.now(datetime.UTC),
        )

    def call(self, client, method, path, body=b"", *, headers=None):
        """Make a signed request to this installation."""
        headers = headers or self.headers(method, path, body)
        return client.generic(method, path, body, content_type="application/json", headers=headers)

    def post(self, client, path, document):
        return self.call(client, "POST", path, json.dumps(document).encode())


def establish():
    """Make this process an instance in a topology with a current view."""
    heartbeat.beat()


@contextmanager
def http_server(answer):
    """Serve `answer(method, path, body) -> (status, document)` on a free port; give the endpoint and what was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, body, dict(self.headers)))
            status, document = answer(self.command, self.path, body)
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _reply  # noqa: N815 names of the standard library

        def log_message(self, *arguments):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
