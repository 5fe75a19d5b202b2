"""The agent's side of the connectors: announces this installation at every configured address, over and over.

After org.apache.sling.discovery.base.connectors.ping.TopologyConnectorClient. A thread for each address, so that one
that does not answer delays no other. What the answer means for the topology, `registry` and `services` know.
"""

import logging
import threading
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import urllib3
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from topology import identity, listeners, services
from topology import models as rows
from topology.connectors import announcement, envelope, outgoing, registry, replay, trust
from topology.loops import Bell, Outage

logger = logging.getLogger(__name__)

TIMEOUT = urllib3.Timeout(connect=10, read=10)
# At the end nobody waits long for a peer that is slow to hear the farewell.
FAREWELL_TIMEOUT = urllib3.Timeout(connect=2, read=2)

IN_USE = "ok, in use"
STANDBY = "ok, unused (loop or duplicate): standby"
_MEANINGS = {
    400: "not understood, or ALLOWED_HOSTS over there lacks the host of this address",
    401: "the address is wrong, or something in front of it asks for a log-in",
    404: "probably refused: not in the allowlist over there, or another shared key",
    503: "the other side has no cluster view at the moment",
}


class _PingFailed(Exception):
    """The peer did not answer as it should; the text is the status for people."""


class Connector:
    """One configured address. Used by one thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.target = f"{url}.{identity.sling_id()}.json"
        self.path = unquote(urlsplit(self.target).path)
        self._http = urllib3.PoolManager(num_pools=1, retries=False)
        self._not_before = 0.0
        self._has_failed = False

    def ping(self, *, forced: bool) -> None:
        """Announce, and take in the answer; without a view, or while the peer asked for patience, do nothing.

        `forced` is for news: it is told at once, and the peer asked to count its patience anew.
        """
        view = services.current_view()
        if not view.is_current or (not forced and time.monotonic() < self._not_before):
            return
        mine = outgoing.compose(view, server_info=identity.label(), is_reset=forced)
        try:
            answer = self._send(announcement.dumps(mine, envelope.now_ms()))
            status = self._take_in(answer, told_by=view.local_id)
        except _PingFailed as error:
            self._failed(str(error))
            return
        self._succeeded(status, answer[0].owner_id)

    def _send(self, text: str) -> tuple[announcement.Announcement, bool]:
        """Return the peer's announcement and whether it proved the shared key."""
        sealed = envelope.seal(trust.Direction.REQUEST, self.path, text)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip", **sealed.headers}
        answered, body = self._request("PUT", headers, sealed.body)
        try:
            opened = envelope.unseal(trust.Direction.RESPONSE, self.path, answered, body)
            return announcement.loads(opened.text), opened.is_trusted
        except (trust.NotTrusted, trust.Tampered, envelope.Unreadable, announcement.AnnouncementInvalid) as error:
            services.record_refusal("connector reply", identity.endpoint_label(self.url), str(error))
            raise _PingFailed(f"not ok (reply refused: {error})") from error

    def _request(self, method: str, headers: dict[str, str], body: bytes | None) -> tuple[Mapping[str, str], bytes]:
        """Return headers and body of a good answer."""
        try:
            response = self._http.request(
                method,
                self.target,
                body=body,
                # A kept connection would be closed by the peer just when the next ping is due.
                headers={"Connection": "close", **headers},
                timeout=TIMEOUT if body is not None else FAREWELL_TIMEOUT,
                redirect=False,
                preload_content=False,
            )
            with response:
                # One byte more than allowed, which `envelope` then finds too long.
                answer = response.read(envelope.MAX_BYTES + 1)
        except urllib3.exceptions.HTTPError as error:
            raise _PingFailed(f"not ok ({_trouble(error)})") from error
        if response.status != 200:
            meaning = _MEANINGS.get(response.status, "see the other side's log")
            raise _PingFailed(f"not ok (HTTP Status-Code: {response.status}, {meaning})")
        return response.headers, answer

    def _take_in(self, answer: tuple[announcement.Announcement, bool], *, told_by: str) -> str:
        """Register what the peer told; return the status for people."""
        told, is_trusted = answer
        self._not_before = time.monotonic() + told.backoff_seconds - 1
        registered = registry.register(
            told, receiver=told_by, inherited=True, is_trusted=is_trusted, connector_url=self.url
        )
        return STANDBY if registered == registry.REFUSED else IN_USE

    def disconnect(self) -> None:
        """Take our announcement back over there, and forget what we heard from there."""
        rows.Announcement.objects.filter(receiver=identity.sling_id(), connector_url=self.url).delete()
        try:
            self._request("DELETE", envelope.seal_empty(self.path), None)
        except _PingFailed as error:
            # It will notice by itself when our announcement has become too old.
            logger.info("connector not taken back", extra={"url": self.url, "status": str(error)})

    def _succeeded(self, status: str, peer_id: str) -> None:
        if self._has_failed:
            logger.info("connector works again", extra={"url": self.url})
        self._has_failed = False
        self._note(status=status, is_ok=True, peer_id=peer_id, answered_at=Now())

    def _failed(self, status: str) -> None:
        if not self._has_failed:
            logger.warning("connector failed", extra={"url": self.url, "status": status})
        self._has_failed = True
        self._note(status=status, is_ok=False)

    def _note(self, **facts: object) -> None:
        rows.Connector.objects.update_or_create(
            sling_id=identity.sling_id(), url=self.url, defaults={"tried_at": Now(), **facts}
        )


def _trouble(error: urllib3.exceptions.HTTPError) -> str:
    # The first is a kind of the second.
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "cannot connect"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return f"no proper answer: {type(error).__name__}"


def run(stop: threading.Event) -> None:
    """Keep all connectors going until `stop` is set, and clear away what expired."""
    threads = [
        threading.Thread(target=_keep, args=(Connector(url), stop), name=f"connector-{number}", daemon=True)
        for number, url in enumerate(settings.OFFLOADING_CONNECTOR_URLS, start=1)
    ]
    for thread in threads:
        thread.start()
    bell, outage = Bell(stop), Outage("connectors")
    while not stop.is_set():
        outage.attempt(_clear_away)
        bell.wait(settings.OFFLOADING_CONNECTOR_PING_SECONDS)
    for thread in threads:
        thread.join(timeout=3)
    bell.close()
    connection.close()


def _clear_away() -> None:
    registry.remove_expired()
    replay.prune()


def _keep(connector: Connector, stop: threading.Event) -> None:
    """Ping every period, at once when the topology has changed; say farewell at the end."""
    bell, outage, has_news = Bell(stop), Outage("connector"), threading.Event()

    def hear(event: listeners.TopologyEvent) -> None:
        if event.type in (listeners.EventType.CHANGED, listeners.EventType.PROPERTIES_CHANGED):
            has_news.set()
        bell.ring()

    def ping() -> None:
        forced = has_news.is_set()
        has_news.clear()
        connector.ping(forced=forced)

    name = f"connector {connector.url}"
    listeners.register(name, hear)
    while not stop.is_set():
        outage.attempt(ping)
        bell.wait(settings.OFFLOADING_CONNECTOR_PING_SECONDS)
    listeners.unregister(name)
    outage.attempt(connector.disconnect)
    connection.close()
