"""The machine endpoints below /bin/receive: offers, blobs, results, switches. One thin view each behind gate.py.

docs/reference/transport.md describes them as they are spoken. None is for people, and none needs a session.
"""

import hashlib
import re

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

from content import blobs
from offloading.transport import copies, gate, messages, results, signing, switches

# A block may be larger than our own setting: the sender goes by the smaller of the two, but not before it asked.
_MOST_BLOCK_BYTES = 64 * 1024 * 1024


_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"([0-9a-f]{64}):([0-9]{1,18})")


def _document_bytes() -> int:
    return gate.DOCUMENT_BYTES


def _block_bytes() -> int:
    return max(_MOST_BLOCK_BYTES, int(settings.OFFLOADING_TRANSPORT_BLOCK_BYTES))


@gate.signed("POST", _document_bytes)
def offer(call: gate.Call, request: HttpRequest) -> HttpResponse:
    """Take in a job: "missing", "queued", or "fenced" if a newer copy is here."""
    try:
        lacking = copies.accept(messages.read_offer(call.document()), caller=call.caller)
    except copies.TooLate as error:
        return JsonResponse({"state": "fenced", "reason": str(error)}, status=409)
    return JsonResponse(lacking.to_json() if lacking else {"state": "queued"})


@gate.signed("PUT", _block_bytes)
def blob(call: gate.Call, request: HttpRequest, digest: str) -> HttpResponse:
    """Take in a block of a blob, verified by its digest when the last one came."""
    offset, size = _number(request, "offset"), _number(request, "size")
    if not _DIGEST.fullmatch(digest):
        raise messages.MessageInvalid("A blob is named by the 64 hexadecimal digits of its SHA-256.")
    if not blobs.missing([digest]):
        return JsonResponse({"offset": size, "complete": True})
    if offset + len(call.body) > size or size > settings.OFFLOADING_UPLOAD_BYTES:
        remedy = f"A blob has at most {settings.OFFLOADING_UPLOAD_BYTES} bytes (OFFLOADING_UPLOAD_BYTES)."
        raise signing.Refused("too-large", "A block or blob is too large", remedy, detail=digest, status=413)
    try:
        reached = blobs.append(digest, offset, call.body)
        if reached == size:
            blobs.complete(digest, size)
    except blobs.OffsetMismatch as error:
        return JsonResponse({"offset": error.expected, "complete": False}, status=409)
    except blobs.DigestMismatch as error:
        raise _mismatch(str(error)) from error
    return JsonResponse({"offset": reached, "complete": reached == size})


@gate.signed("PUT", _block_bytes)
def together(call: gate.Call, request: HttpRequest) -> HttpResponse:
    """Take in several small blobs, one after the other in the body, each whole and each verified by its digest."""
    named = [_named(value) for value in request.GET.getlist("blob")]
    if not named or sum(size for _, size in named) != len(call.body):
        raise messages.MessageInvalid("The query must name each blob of the body as blob=<digest>:<size>.")
    reached = 0
    for digest, size in named:
        data = call.body[reached : reached + size]
        reached += size
        if hashlib.sha256(data).hexdigest() != digest:
            raise _mismatch(f"{digest} at byte {reached - size} of the body")
        blobs.store([data])
    return JsonResponse({"state": "stored"})


@gate.signed("POST", _document_bytes)
def result(call: gate.Call, request: HttpRequest) -> HttpResponse:
    """Take in a result: "missing", "applied", or "fenced" if it is kept aside."""
    answer = results.receive(messages.read_result(call.document()), caller=call.caller)
    if isinstance(answer, messages.Lacking):
        return JsonResponse(answer.to_json())
    if answer.reason:
        return JsonResponse({"state": "fenced", "reason": answer.reason}, status=409)
    return JsonResponse({"state": "applied"})


@gate.signed("POST", _document_bytes)
def switch(call: gate.Call, request: HttpRequest) -> HttpResponse:
    """Switch topics on an instance of this cluster, because a person at the caller asked for it."""
    switches.receive(messages.read_switch(call.document()), caller=call.caller)
    return JsonResponse({"state": "applied"})


def _mismatch(detail: str) -> signing.Refused:
    remedy = "Send it again."
    return signing.Refused("blob-mismatch", "A blob is not what was announced", remedy, detail=detail, status=400)


def _named(value: str) -> tuple[str, int]:
    found = _NAMED.fullmatch(value)
    if found is None:
        raise messages.MessageInvalid("A blob is named as <digest>:<size>.")
    return found[1], int(found[2])


def _number(request: HttpRequest, name: str) -> int:
    value = request.GET.get(name, "")
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise messages.MessageInvalid(f"The query needs {name}, a whole number.")
    return int(value)
