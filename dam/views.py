"""The screens of the asset library: a folder, an asset, and what people do there.

Looking is for everybody who is logged in, changing for staff. Pages and the fragments that live updates fetch again
come from the same view; a fragment that would be the same as before is answered with 204, so that nothing flickers.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from content import paths
from dam import ingestion, library, story, structure, uploads
from dam.library import Asset, FolderPage

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def staff_only(view: View[P]) -> View[P]:
    """Refuse whoever may look and no more."""

    @wraps(view)
    def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied("Only staff may change the library.")
        return view(request, *args, **kwargs)

    return checked


# --- Folders --------------------------------------------------------------------------------------------------------


@require_GET
def root(request: HttpRequest) -> HttpResponse:
    return _folder_answer(request, structure.ROOT)


@require_GET
def folder(request: HttpRequest, path: str) -> HttpResponse:
    return _folder_answer(request, path)


@require_POST
@staff_only
def folder_create(request: HttpRequest, path: str) -> HttpResponse:
    """Create a folder below `path`."""
    name = request.POST.get("name", "")
    try:
        ingestion.create_folder(parent=path, name=name, by=request.user.get_username())
    except (paths.PathInvalid, ingestion.AssetExists) as error:
        return _folder_answer(request, path, status=422, extra={"folder_name": name, "folder_error": str(error)})
    except ingestion.AssetMissing as error:
        raise Http404(str(error)) from error
    return redirect(folder_url(path))


@csrf_exempt
@require_POST
def upload(request: HttpRequest, path: str) -> HttpResponse:
    """Take files into the folder `path`. The size is looked at before the body is parsed, the token after it."""
    if uploads.is_too_large(request):
        return _upload_answer(request, path, [uploads.too_large()])
    return _upload(request, path)


@csrf_protect
@staff_only
def _upload(request: HttpRequest, path: str) -> HttpResponse:
    return _upload_answer(request, path, uploads.receive(request, path))


def _upload_answer(request: HttpRequest, path: str, results: list[uploads.Result]) -> HttpResponse:
    """Answer a script about its one file, a form with the folder; what was refused stands at its file's row there."""
    status = next((result.status for result in results if not result.is_taken), 201)
    if request.accepts("application/json") and not request.accepts("text/html"):
        facts = results[0].as_json() if results else {"error": "No file was sent."}
        return JsonResponse(facts, status=status if results else 422)
    if status == 201:
        return redirect(folder_url(path))
    return _folder_answer(request, path, status=status, extra={"results": results})


def _folder_answer(
    request: HttpRequest, path: str, *, status: int = 200, extra: dict[str, Any] | None = None
) -> HttpResponse:
    page = library.folder_page(path, before=_key(request, "before"), after=_key(request, "after"))
    if page is None:
        raise Http404("The library has no such folder.")
    fingerprint = _fingerprint(page, request)
    if request.GET.get("seen") == fingerprint:
        return HttpResponse(status=204)
    here = folder_url(path)
    context = {
        "page": page,
        "crumbs": _crumbs(path),
        "is_root": path == structure.ROOT,
        "refresh_url": _with(here, before=_key(request, "before"), after=_key(request, "after"), seen=fingerprint),
        "newer_url": _with(here, after=page.newer) if page.newer else "",
        "older_url": _with(here, before=page.older) if page.older else "",
        "is_live": any(card.progress for card in page.assets),
        "upload_bytes": settings.OFFLOADING_UPLOAD_BYTES,
        **(extra or {}),
    }
    return render(request, "dam/folder.html" + ("#cards" if _is_fragment(request) else ""), context, status=status)


# --- One asset ------------------------------------------------------------------------------------------------------


@require_GET
def asset(request: HttpRequest, path: str) -> HttpResponse:
    """Show an asset: picture, renditions, metadata, and the story of its ingestion."""
    return _asset_answer(request, path)


@require_POST
@staff_only
def asset_retry(request: HttpRequest, path: str) -> HttpResponse:
    """Process an asset again."""
    return _done(request, path, ingestion.retry_asset, f"{paths.name(path)} is being processed again.")


@require_POST
@staff_only
def asset_replace(request: HttpRequest, path: str) -> HttpResponse:
    """Give an asset another original."""
    file = request.FILES.get("file")
    if file is None:
        return _asset_answer(request, path, status=422, extra={"replace_error": "Choose the file to put in its place."})
    try:
        ingestion.replace_original(path=path, stream=file, by=request.user.get_username())
    except ingestion.UploadRefused as error:
        status = 413 if isinstance(error, ingestion.UploadTooLarge) else 422
        return _asset_answer(request, path, status=status, extra={"replace_error": str(error)})
    except ingestion.AssetMissing as error:
        raise Http404(str(error)) from error
    messages.success(request, f"{paths.name(path)} has a new original and is being processed.")
    return redirect(asset_url(path))


@require_POST
@staff_only
def asset_remove(request: HttpRequest, path: str) -> HttpResponse:
    """Remove an asset for good."""
    back = folder_url(paths.parent(path))
    return _done(request, path, ingestion.remove_asset, f"{paths.name(path)} is removed.", back=back)


def _done(request: HttpRequest, path: str, act: Callable[..., None], said: str, back: str = "") -> HttpResponse:
    """Do one thing to an asset, say so, and lead back. To HTMX only say so: the live update shows it."""
    try:
        act(path=path, by=request.user.get_username())
    except ingestion.AssetMissing as error:
        raise Http404(str(error)) from error
    messages.success(request, said)
    if _is_fragment(request) and not back:
        return HttpResponse(status=204)
    wanted = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()})
    return redirect(back or (wanted if is_ours else asset_url(path)))


def _asset_answer(
    request: HttpRequest, path: str, *, status: int = 200, extra: dict[str, Any] | None = None
) -> HttpResponse:
    found = library.find_asset(path)
    if found is None:
        raise Http404("The library has no such asset.")
    runs = story.of_asset(path)
    fingerprint = _fingerprint((found, [(str(run.workflow), run.events) for run in runs]), request)
    if request.GET.get("seen") == fingerprint:
        return HttpResponse(status=204)
    context = {
        "asset": found,
        "card": found.card,
        "runs": runs,
        "crumbs": _crumbs(path),
        "refresh_url": _with(asset_url(path), seen=fingerprint),
        **(extra or {}),
    }
    return render(request, "dam/asset.html" + ("#live" if _is_fragment(request) else ""), context, status=status)


# --- Addresses and answers ------------------------------------------------------------------------------------------


def folder_url(path: str) -> str:
    return reverse("dam:root") if path == structure.ROOT else reverse("dam:folder", args=[path])


def asset_url(path: str) -> str:
    return reverse("dam:asset", args=[path])


def _crumbs(path: str) -> list[tuple[str, str]]:
    """Return the folders from the library's root to `path`; the last, where one is, has no address."""
    line: list[tuple[str, str]] = [(paths.name(path), "")]
    while path != structure.ROOT:
        path = paths.parent(path)
        line.insert(0, (paths.name(path), folder_url(path)))
    return [("Assets", line[0][1]), *line[1:]]


def _with(url: str, **query: object) -> str:
    given = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
    return f"{url}?{given}" if given else url


def _key(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None


def _is_fragment(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def _fingerprint(shown: FolderPage | tuple[Asset, list[Any]], request: HttpRequest) -> str:
    """Name what a fragment shows and to whom; the same name, the same fragment."""
    return hashlib.sha256(f"{shown!r}{request.user.pk}".encode()).hexdigest()[:16]
