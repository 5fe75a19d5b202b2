"""The web process: uvicorn with the project's ASGI application, on a socket that the supervisor opened."""

import socket

import uvicorn
from django.conf import settings

_GRACEFUL_SECONDS = 5


class PortTaken(RuntimeError):
    """The address to listen on cannot be had."""


def listen() -> socket.socket:
    """Open the socket that this instance is reached at. Raises PortTaken, saying what to do."""
    host, port = settings.OFFLOADING_HOST, settings.OFFLOADING_PORT
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {host}:{port}: {error.strerror}. Stop what listens there, or set OFFLOADING_PORT."
        ) from error


def run(listener: socket.socket) -> int:
    """Serve until SIGTERM; return the exit code."""
    server = uvicorn.Server(
        uvicorn.Config(
            "config.asgi:application",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
    )
    server.run(sockets=[listener])
    return 0 if server.started else 1
