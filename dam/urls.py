"""The addresses of the asset library, below /assets/. A node is named by its whole path, as in /content/dam/a.jpg."""

from django.urls import path, register_converter

from content import paths
from dam import binaries, views


class NodePathConverter:
    """The path of a node at the end of an address, there without its first slash. What is no path is no address."""

    regex = ".+"

    def to_python(self, value: str) -> str:
        return paths.validate("/" + value)  # PathInvalid is a ValueError: no match

    def to_url(self, value: str) -> str:
        return value.removeprefix("/")


register_converter(NodePathConverter, "node")

app_name = "dam"
urlpatterns = [
    # Folders
    path("", views.root, name="root"),
    path("folder/<node:path>", views.folder, name="folder"),
    path("folder-create/<node:path>", views.folder_create, name="folder-create"),
    path("upload/<node:path>", views.upload, name="asset-upload"),
    # One asset
    path("asset/<node:path>", views.asset, name="asset"),
    path("asset-retry/<node:path>", views.asset_retry, name="asset-retry"),
    path("asset-replace/<node:path>", views.asset_replace, name="asset-replace"),
    path("asset-remove/<node:path>", views.asset_remove, name="asset-remove"),
    # Its bytes
    path("rendition/<str:name>/<node:path>", binaries.rendition, name="rendition"),
]
