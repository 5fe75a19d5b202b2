from django.urls import path

from topology.connectors import server

urlpatterns = [
    path("libs/sling/topology/<path:path>", server.connector, name="topology-connector"),
]
