"""Screens that belong to no app: the choice of theme and the patterns page."""

from datetime import timedelta

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

THEME_COOKIE = "offloading_theme"
THEMES = ("light", "dark")


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Remember the theme of this browser, or forget it, and go back to the page that asked."""
    back = request.POST.get("next", "")
    response = redirect(back if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}) else "home")
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie(THEME_COOKIE, theme, max_age=31_536_000, samesite="Lax")
    else:
        response.delete_cookie(THEME_COOKIE)
    return response


@require_GET
def patterns(request: HttpRequest) -> HttpResponse:
    """Show every piece that screens are made of, with sample data. With ?toast, show one as a view would say it."""
    if not request.user.is_staff:
        raise PermissionDenied("The patterns page is for staff.")
    if "toast" in request.GET:
        messages.success(request, "com/example/topic is disabled on 127.0.0.1:4502.", extra_tags="undo=/patterns/?a=b")
        if request.headers.get("HX-Request") == "true":
            return HttpResponse(status=204)
    now = timezone.now()
    context = {"now": now, "earlier": now - timedelta(seconds=43), "busy": [0, 3, 8, 5, 12, 9, 2], "idle": [0] * 7}
    return render(request, "config/patterns.html", context)
