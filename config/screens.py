"""What holds for every screen: it loads nothing from elsewhere, a fragment is not cached as its page, and a fragment
asked for after the session ended sends the browser to the log-in instead of showing it in the middle of a page."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils.cache import patch_vary_headers

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class ScreenMiddleware:
    """Adds these three to the answers that are for browsers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        patch_vary_headers(response, ["HX-Request"])
        # Django's own error pages, shown while developing, carry inline styles.
        if not settings.DEBUG:
            response.headers.setdefault("Content-Security-Policy", POLICY)
        if request.headers.get("HX-Request") == "true" and response.status_code == 302:
            log_in = resolve_url(settings.LOGIN_URL)
            if response.headers.get("Location", "").startswith(log_in):
                return HttpResponse(status=204, headers={"HX-Redirect": log_in})
        return response
