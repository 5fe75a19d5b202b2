"""The door of every machine endpoint: reads the body once and bounded, checks the signature, remembers the nonce.

A view behind it gets a `Call` with a caller that is who it says, and answers with JSON. Everything refused here is
counted with its cause on the Topology Browser. What a caller may do is the view's question.
"""

import datetime
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from content import bundles
from offloading import models
from offloading.transport import keys, messages, signing
from topology import services as topology

# A manifest of a hundred thousand nodes fits; anything larger is no manifest.
DOCUMENT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Call:
    """A verified request: the sling id of the instance that signed it, and its body."""

    caller: str
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object. Raises `messages.MessageInvalid`."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise messages.MessageInvalid("The body is not JSON.") from error
        if not isinstance(document, dict):
            raise messages.MessageInvalid("The body must be a JSON object.")
        return document


View = Callable[..., HttpResponse]


def signed(method: str, most_bytes: Callable[[], int]) -> Callable[[View], View]:
    """Make a view for instances alone: `view(call, request, ...)`. `most_bytes` is asked at each request."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @login_not_required
        @functools.wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method != method:
                return problem("method", f"This address takes {method}.", status=405)
            try:
                call = _admit(request, most_bytes())
                return view(call, request, *args, **kwargs)
            except signing.Refused as refusal:
                return _refuse(request, refusal)
            except (messages.MessageInvalid, bundles.ManifestInvalid) as error:
                return _refuse(request, _malformed(error))

        return wrapped

    return decorate


def problem(error: str, remedy: str, *, status: int, **facts: Any) -> JsonResponse:
    """Answer with a problem: `error` for programs, `remedy` for people."""
    return JsonResponse({"error": error, "remedy": remedy, **facts}, status=status)


def _refuse(request: HttpRequest, refusal: signing.Refused) -> JsonResponse:
    # Only ids that we know are noted: a stranger could fill the table with others.
    claimed = request.headers.get("X-Instance-Id", "")
    is_known = models.PeerKey.objects.filter(sling_id=claimed).exists()
    caller = f"{request.META.get('REMOTE_ADDR', '')} {claimed if is_known else ''}".strip()
    topology.record_refusal("transport", caller, f"{refusal.error}: {refusal.reason}")
    return problem(refusal.error, f"{str(refusal).rstrip('.')}. {refusal.remedy}", status=refusal.status)


def _malformed(error: Exception) -> signing.Refused:
    remedy = "Run the same version on both sides."
    return signing.Refused("malformed", "The request is not in this protocol", remedy, detail=str(error), status=400)


def _admit(request: HttpRequest, most_bytes: int) -> Call:
    body = _read(request, most_bytes)
    headers = {name.lower(): value for name, value in request.headers.items()}
    caller = headers.get("x-instance-id", "")
    if not caller or "signature" not in headers:
        raise signing.Refused("unsigned", "The request is not signed", "Only instances of the topology may call.")
    known = keys.accepted(caller)
    if not known:
        raise _unknown(caller)
    message = signing.Message(request.method or "", _target_uri(request), headers)
    clock_seconds = settings.OFFLOADING_TRANSPORT_CLOCK_SECONDS
    now = datetime.datetime.now(datetime.UTC)
    nonce = signing.verify(message, body=body, keys=known, clock_seconds=clock_seconds, now=now)
    _use_up(caller, nonce)
    return Call(caller=caller, body=body)


def _read(request: HttpRequest, most_bytes: int) -> bytes:
    """Read the body past Django's own limit for forms, which is meant for people."""
    body = request.read(most_bytes + 1)
    if len(body) > most_bytes:
        remedy = f"Send at most {most_bytes} bytes in one request."
        raise signing.Refused("too-large", "The body is too large", remedy, status=413)
    return bytes(body)


def _target_uri(request: HttpRequest) -> str:
    """Return the address as the caller knows it: behind a proxy, ours differs from what arrives here."""
    query = request.META.get("QUERY_STRING", "")
    endpoint = str(settings.OFFLOADING_ENDPOINT).split(",")[0].strip().rstrip("/")
    return endpoint + request.path_info + (f"?{query}" if query else "")


def _unknown(caller: str) -> signing.Refused:
    waiting = models.PeerKey.objects.filter(sling_id=caller).order_by("-id").first()
    if waiting is None:
        remedy = "Connect the two installations (OFFLOADING_CONNECTOR_URLS), then try again."
        return signing.Refused("unknown-instance", "No key is known for this instance", remedy)
    mark = keys.fingerprint(waiting.public_key)
    if waiting.trust == models.PeerKey.Trust.REVOKED:
        return signing.Refused(
            "key-revoked", f"The key {mark} was revoked", "Approve it again, if it is to be believed."
        )
    remedy = f"Compare the fingerprint with the other side, then run: manage.py peerkeys approve {mark}"
    return signing.Refused("key-pending", "The key of the instance waits for approval", remedy, detail=mark)


def _use_up(caller: str, nonce: str) -> None:
    try:
        with transaction.atomic():
            models.Nonce.objects.create(key_id=caller, nonce=nonce)
    except IntegrityError as error:
        raise signing.Refused("replayed", "The request was made before", "Sign each request anew.") from error


def forget_old_nonces() -> int:
    """Remove the nonces whose requests would be refused as stale anyway."""
    window = datetime.timedelta(seconds=2 * settings.OFFLOADING_TRANSPORT_CLOCK_SECONDS + 1)
    return models.Nonce.objects.filter(seen_at__lt=Now() - window).delete()[0]
