"""Bytes of originals and renditions, to whoever is logged in.

Files come from anybody and are shown to everybody, so none of them may act as a page of ours: only pictures that a
browser renders itself are shown in place, the rest is a download, and all of it is sandboxed and never sniffed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import PurePosixPath

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header, parse_etags
from django.views.decorators.http import require_safe

from content import blobs, paths
from dam import library, structure
from dam.library import Picture

SHOWN_IN_PLACE = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"})
# What `v` in an address must begin the digest with, for the answer to be kept for ever.
VERSION_LENGTH = 16

_CHUNK_BYTES = 256 * 1024
_KEEP = "private, max-age=31536000, immutable"


@require_safe
def rendition(request: HttpRequest, name: str, path: str) -> HttpResponseBase:
    """Send a rendition of the asset at `path`, or its original. With ?download it is a file, not a picture."""
    picture = library.find_picture(path, name)
    if picture is None:
        raise Http404("The asset has no such rendition; it may be in the making.")
    etag = f'"{picture.digest}"'
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        response: HttpResponseBase = HttpResponse(status=304)
    else:
        response = _bytes(request, picture)
        response["Content-Length"] = str(picture.size)
        response["Content-Type"] = picture.mime_type
    response["ETag"] = etag
    response["Cache-Control"] = _KEEP if _is_versioned(request, picture) else "private, no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    is_download = "download" in request.GET or picture.mime_type not in SHOWN_IN_PLACE
    response["Content-Disposition"] = str(content_disposition_header(is_download, _file_name(path, name)))
    return response


def _bytes(request: HttpRequest, picture: Picture) -> HttpResponseBase:
    """Read what is small at once, stream the rest, in the way of whichever server runs."""
    if picture.size <= _CHUNK_BYTES:
        with blobs.open_blob(picture.digest) as file:
            return HttpResponse(file.read())
    is_asynchronous = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(_read_async(picture.digest) if is_asynchronous else _read(picture.digest))


def _read(digest: str) -> Iterator[bytes]:
    with blobs.open_blob(digest) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


async def _read_async(digest: str) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(blobs.open_blob, digest)
    try:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
    finally:
        file.close()


def _is_versioned(request: HttpRequest, picture: Picture) -> bool:
    version = request.GET.get("v", "")
    return len(version) >= VERSION_LENGTH and picture.digest.startswith(version)


def _file_name(asset: str, name: str) -> str:
    if name == structure.ORIGINAL:
        return paths.name(asset)
    return f"{PurePosixPath(asset).stem}.{name}"
