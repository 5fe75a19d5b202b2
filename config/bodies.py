"""Refuses bodies that are too large before Django sees them: it would write all of a body to disk before any view runs.

Views keep their own, narrower limits. This one only bounds what a stranger can make this machine store.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# What a form holds besides the bytes of its file: names, the token, separators.
_FORM_BYTES = 1024 * 1024
# Other instances send documents and blocks of up to this, however small a file has to be here.
_MACHINE_BYTES = 64 * 1024 * 1024
_MACHINES = ("/bin/", "/libs/")
_API = "/api/"


class BodyLimit:
    """An ASGI application in front of Django's that answers 413 to what is larger than may be."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        most_bytes = _most_bytes(scope["path"])
        if _announced_bytes(scope) > most_bytes:
            await _refuse(scope, send)
            return
        body = _Counted(receive, most_bytes)
        await self._application(scope, body.receive, send)
        if body.is_too_large:
            await _refuse(scope, send)


class _Counted:
    """A body whose length nobody told: beyond the limit Django is told that the caller hung up, and forgets it."""

    def __init__(self, receive: Receive, most_bytes: int) -> None:
        self._receive = receive
        self._left = most_bytes
        self.is_too_large = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.is_too_large = True
            return {"type": "http.disconnect"}
        return message


def _most_bytes(path: str) -> int:
    upload_bytes: int = settings.OFFLOADING_UPLOAD_BYTES
    if path.startswith(_API):
        return _MACHINE_BYTES + _FORM_BYTES
    if path.startswith(_MACHINES):
        upload_bytes = max(upload_bytes, _MACHINE_BYTES, settings.OFFLOADING_TRANSPORT_BLOCK_BYTES)
    return upload_bytes + _FORM_BYTES


def _announced_bytes(scope: Scope) -> int:
    length = _header(scope, b"content-length")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


async def _refuse(scope: Scope, send: Send) -> None:
    error = f"That is more than {settings.OFFLOADING_UPLOAD_BYTES:,} bytes, the most that is taken at once here."
    remedy = "Send less, or raise OFFLOADING_UPLOAD_BYTES on this instance."
    is_json = scope["path"].startswith((*_MACHINES, _API)) or "json" in _header(scope, b"accept")
    text = json.dumps({"error": error, "remedy": remedy}) if is_json else f"{error} {remedy}\n"
    body = text.encode()
    headers = [
        (b"content-type", b"application/json" if is_json else b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        # What is left of the body is not read.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
