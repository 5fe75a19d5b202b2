"""The address that other installations announce themselves to.

After org.apache.sling.discovery.base.connectors.ping.TopologyConnectorServlet: PUT announces and is answered with our
announcement, DELETE takes it back. Whoever is not allowed sees 404, as if there were nothing here; people find the
reason in the Topology Browser.
"""

import gzip
import logging
import socket
from dataclasses import replace

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from topology import identity, services, snapshot
from topology.connectors import allowlist, announcement, envelope, outgoing, registry, trust

logger = logging.getLogger(__name__)


class _Refused(Exception):
    """A request that is answered with `status` and, if it has one, counted for its reason."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@login_not_required
@csrf_exempt
@require_http_methods(["PUT", "DELETE"])
def connector(request: HttpRequest, path: str) -> HttpResponse:
    """Answer `connector.<sling id>.json`, the id being the caller's."""
    try:
        _check_caller(request)
        caller = _caller_id(path)
        if request.method == "DELETE":
            return _disconnect(request, caller)
        return _announce(request, caller)
    except (_Refused, trust.NotTrusted, trust.Tampered, envelope.Unreadable) as error:
        return _refusal(request, error)


def _check_caller(request: HttpRequest) -> None:
    """Refuse whoever has neither the shared key nor, where there is none, a place in the allowlist."""
    if envelope.is_signed():
        envelope.check_sender(request.headers)
        return
    entries, address = settings.OFFLOADING_CONNECTOR_WHITELIST, request.META.get("REMOTE_ADDR", "")
    if allowlist.accepts(entries, address=address):
        return
    host = _host(address) if allowlist.needs_host(entries) else ""
    if not allowlist.accepts(entries, address=address, host=host):
        raise _Refused(404, "The caller is not in the allowlist.")


def _host(address: str) -> str:
    """Return the name of an address, if that name really leads to it: anybody may give his own address any name."""
    try:
        host = socket.gethostbyaddr(address)[0]
        leads_to = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return ""
    return host if address in leads_to else ""


def _caller_id(path: str) -> str:
    parts = path.split(".")
    if len(parts) != 3 or parts[2] != "json":
        raise _Refused(404)
    return parts[1]


def _disconnect(request: HttpRequest, caller: str) -> HttpResponse:
    envelope.unseal_empty(request.path, request.headers)
    registry.unregister(receiver=identity.sling_id(), owner_id=caller)
    return HttpResponse()


def _announce(request: HttpRequest, caller: str) -> HttpResponse:
    body = request.body
    if "gzip" in request.headers.get("Content-Encoding", ""):
        body = envelope.gunzip(body)
    opened = envelope.unseal(trust.Direction.REQUEST, request.path, request.headers, body)
    try:
        told = announcement.loads(opened.text)
    except announcement.AnnouncementInvalid as error:
        raise _Refused(500, str(error)) from error
    if told.owner_id != caller:
        raise _Refused(400, "The announcement is not its sender's.")
    reply = _reply(told, is_trusted=opened.is_trusted)
    return _response(request, announcement.dumps(reply, envelope.now_ms()), opened.kdf)


def _reply(told: announcement.Announcement, *, is_trusted: bool) -> announcement.Announcement:
    """Register what we were told and return what we know; a loop if we know the teller by another way."""
    view = services.current_view()
    if not view.is_current:
        # Nothing to be blamed for: the cluster is between two views, or its agent has not started yet.
        raise _Refused(503)
    if told.protocol_version != announcement.PROTOCOL_VERSION:
        raise _Refused(400, "The announcement is of another protocol version.")
    # Our own last reply, as the caller inherited it, comes back with its announcement.
    others = tuple(part for part in told.nested if not (part.is_inherited and part.owner_id == view.local_id))
    told = replace(told, nested=others)
    if _reaches_us(told, view):
        return announcement.Announcement(owner_id=view.local_id, is_loop=True)
    backoff = registry.register(told, receiver=view.local_id, inherited=False, is_trusted=is_trusted)
    if backoff == registry.REFUSED:
        return announcement.Announcement(owner_id=view.local_id, is_loop=True)
    return replace(outgoing.compose(view, without_owner=told.owner_id), backoff_seconds=backoff)


def _reaches_us(told: announcement.Announcement, view: snapshot.TopologyView) -> bool:
    named = {told.owner_id, *(instance.sling_id for instance in told.all_instances())}
    return any(view.is_local_member(sling_id) for sling_id in named)


def _response(request: HttpRequest, text: str, kdf: trust.Kdf) -> HttpResponse:
    sealed = envelope.seal(trust.Direction.RESPONSE, request.path, text, kdf)
    response = HttpResponse(sealed.body, content_type="application/json", headers=sealed.headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(sealed.body)
        response["Content-Encoding"] = "gzip"
    return response


def _refusal(request: HttpRequest, error: Exception) -> HttpResponse:
    if str(error):
        services.record_refusal("connector", request.META.get("REMOTE_ADDR", ""), str(error))
    response = HttpResponse(status=_status(error))
    # Django would log each answer above 399; a refused peer asks every few seconds, and the refusal is logged already.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _status(error: Exception) -> int:
    if isinstance(error, _Refused):
        return error.status
    return 404 if isinstance(error, trust.NotTrusted) else 500
