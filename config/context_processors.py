"""What every page needs around its content."""

from django.conf import settings
from django.http import HttpRequest

from config import navigation
from config.views import THEME_COOKIE, THEMES
from offloading.jobs import pauses


def shell(request: HttpRequest) -> dict[str, object]:
    """Name the instance that serves the page, so that two tabs of two instances can be told apart; rail and theme,
    and what is paused."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    return {
        "this_instance": settings.OFFLOADING_ENDPOINT.removeprefix("http://").removeprefix("https://").rstrip("/"),
        "navigation": navigation.links(request.path),
        # Called by the template that shows it, so that a page for nobody asks nothing.
        "paused_now": pauses.active,
        "theme": theme if theme in THEMES else "",
    }
