"""Addresses that instances of other clusters call; the first one is the talk's."""

from django.urls import path, re_path

from offloading.transport import receiver

app_name = "transport"

urlpatterns = [
    path("bin/receive", receiver.offer, name="offer"),
    path("bin/receive/blobs", receiver.together, name="together"),
    re_path(r"^bin/receive/blobs/(?P<digest>[0-9a-f]{64})$", receiver.blob, name="blob"),
    path("bin/receive/results", receiver.result, name="result"),
    path("bin/receive/switch", receiver.switch, name="switch"),
]
