"""The page that Prometheus reads: for staff who look at it, and for the program that has the token."""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from offloading.jobs import metrics


@login_not_required
@require_safe
@never_cache
def exposition(request: HttpRequest) -> HttpResponse:
    """Tell the state of the cluster. 401 for who is not known, 403 for who is known and may not."""
    if request.headers.get("Authorization"):
        if not _has_token(request):
            return _refuse("The token is not the one of OFFLOADING_METRICS_TOKEN.", status=401)
    elif not request.user.is_authenticated:
        return _refuse("Send OFFLOADING_METRICS_TOKEN as a bearer token, or log in as staff.", status=401)
    elif not request.user.is_staff:
        return _refuse("Metrics are for staff.", status=403)
    text, content_type = metrics.exposition(request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=content_type)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers["Authorization"].partition(" ")
    expected = settings.OFFLOADING_METRICS_TOKEN
    return bool(expected) and scheme.lower() == "bearer" and constant_time_compare(token.strip(), expected)


def _refuse(why: str, *, status: int) -> HttpResponse:
    headers = {"WWW-Authenticate": 'Bearer realm="metrics"'} if status == 401 else {}
    return HttpResponse(f"{why}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers)
