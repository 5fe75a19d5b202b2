"""Who may use the API: whoever is logged in may read, staff may change. By a session of the browser, or by a token."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request


class Session(SessionAuthentication):
    """The session of a browser; what changes something needs the CSRF token, too."""


class SessionInSchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The cookie's name depends on the installation: the document says how it begins."""

    target_class = Session
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        text = "The cookie offloading_session_… of a logged-in browser. Changes need the X-CSRFToken header, too."
        return {"type": "apiKey", "in": "cookie", "name": "offloading_session", "description": text}


class StaffChanges(BasePermission):
    """Reading for everybody who is known, changing for staff."""

    message = "Only staff may change something."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        return request.method in SAFE_METHODS or request.user.is_staff


def name_of(request: Request) -> str:
    """Return who asks, for the record."""
    return request.user.get_username()
