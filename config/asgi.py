"""The web process: Django for HTTP, one websocket for the live screens."""

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.core.asgi import get_asgi_application
from django.db import connections
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
http = get_asgi_application()
# Here each request runs in a thread of its own: a connection kept open for the next one would only be left behind.
connections.settings["default"]["CONN_MAX_AGE"] = 0

# Only now are the apps loaded that the consumer needs.
from config.bodies import BodyLimit  # noqa: E402
from config.live.consumer import LiveConsumer  # noqa: E402

sockets = URLRouter([path("live/", LiveConsumer.as_asgi()), re_path("", WebsocketDenier.as_asgi())])
application = ProtocolTypeRouter(
    {"http": BodyLimit(http), "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))}
)
