"""Toasts: what a done action says. Views speak Django's messages alone; here they find their way to the person.

A full page shows them itself (templates/ui/_toast.html). In the answer to an HTMX request they travel as the event
"toast" in the header HX-Trigger, and static/js/toasts.js shows them. A message may offer an undo: give it
`extra_tags="undo=<url>?<fields>"`, and the toast has a button that posts these fields there. Or it may lead to where
what was begun goes on: `extra_tags="link=<url>"`.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from django.contrib import messages
from django.contrib.messages.storage.base import Message
from django.http import HttpRequest, HttpResponse

TONES = {messages.SUCCESS: "good", messages.WARNING: "warn", messages.ERROR: "danger"}
UNDO = "undo="
LINK = "link="


@dataclass(frozen=True)
class Toast:
    """One thing that is now true, and the way back if there is one. `undo_fields` is a query string."""

    text: str
    tone: str
    undo_url: str = ""
    undo_fields: str = ""
    link_url: str = ""


def from_message(message: Message) -> Toast:
    """Read a toast out of a message of Django's."""
    tags = message.extra_tags or ""
    url, _, fields = tags.partition(UNDO)[2].partition("?")
    return Toast(
        text=str(message.message),
        tone=TONES.get(message.level, "accent"),
        undo_url=url,
        undo_fields=fields,
        link_url=tags.removeprefix(LINK) if tags.startswith(LINK) else "",
    )


class ToastMiddleware:
    """Move the messages of an HTMX answer into its header. A redirect keeps them for the page it leads to."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        leads_on = 300 <= response.status_code < 400 or "HX-Redirect" in response.headers
        if request.headers.get("HX-Request") == "true" and not leads_on:
            said = [asdict(from_message(message)) for message in messages.get_messages(request)]
            if said:
                response.headers["HX-Trigger"] = json.dumps({"toast": {"toasts": said}})
        return response
