"""One address, both answers: the whole page, or the live part of it for HTMX."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render


def is_fragment(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def page_or_fragment(
    request: HttpRequest, template: str, context: dict[str, object], status: int = 200
) -> HttpResponse:
    """Render `template`, or only its partial "live" if HTMX asks."""
    return render(request, f"{template}#live" if is_fragment(request) else template, context, status=status)


def to_page(request: HttpRequest, address: str) -> HttpResponse:
    """Lead to another page, also where HTMX asked: it would put what a redirect leads to into this one."""
    if not is_fragment(request):
        return redirect(address)
    response = HttpResponse(status=204)
    response.headers["HX-Redirect"] = address
    return response
