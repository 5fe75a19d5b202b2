"""What every page needs around its content."""

from django.conf import settings
from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, object]:
    """Name the instance that serves the page, so that two tabs of two instances can be told apart."""
    return {"this_instance": settings.OFFLOADING_ENDPOINT.removeprefix("http://").removeprefix("https://").rstrip("/")}
