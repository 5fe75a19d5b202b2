"""Addresses that instances of other clusters call; the first one is the talk's."""

from django.urls import path

from offloading.transport import receiver

app_name = "transport"

urlpatterns = [
    path("bin/receive", receiver.offer, name="offer"),
    path("bin/receive/blobs", receiver.together, name="together"),
    path("bin/receive/blobs/<str:digest>", receiver.blob, name="blob"),
    path("bin/receive/results", receiver.result, name="result"),
    path("bin/receive/switch", receiver.switch, name="switch"),
]
