"""The shape of an asset in the content tree: node types, paths of its parts, its states. Pure; touches no data."""

import enum

from content import paths

ROOT = "/content/dam"
ASSET = "dam:Asset"
ASSET_CONTENT = "dam:AssetContent"
FOLDER = "sling:Folder"
FOLDER_TYPES = (FOLDER, "sling:OrderedFolder", "nt:folder")
FILE = "nt:file"
RESOURCE = "nt:resource"

STATE = "dam:assetState"
FAILURE = "dam:failureMessage"
DATA = "jcr:data"
MIME_TYPE = "jcr:mimeType"

ORIGINAL = "original"
# What the thumbnail step makes and may replace. Other renditions were put there by somebody and stay.
GENERATED = "cq5dam."
THUMBNAIL = "cq5dam.thumbnail.319.319.png"
WEB = "cq5dam.web.1280.1280"

_CONTENT = "/jcr:content"


class AssetState(enum.StrEnum):
    """The values of dam:assetState. `failed` is ours: without it a failure looks like work that never ends."""

    UNPROCESSED = "unProcessed"
    PROCESSING = "processing"
    PROCESSED = "processed"
    FAILED = "failed"


def content(asset: str) -> str:
    return asset + _CONTENT


def metadata(asset: str) -> str:
    return f"{asset}{_CONTENT}/metadata"


def renditions(asset: str) -> str:
    return f"{asset}{_CONTENT}/renditions"


def rendition(asset: str, name: str) -> str:
    return f"{asset}{_CONTENT}/renditions/{name}"


def original(asset: str) -> str:
    return rendition(asset, ORIGINAL)


def resource(file: str) -> str:
    """Return the node below an nt:file that holds its bytes and MIME type."""
    return file + _CONTENT


def asset_of(path: str) -> str:
    """Return the path of the asset that `path`, a payload, lies in: an asset itself or any node below its content."""
    return path.split(_CONTENT, 1)[0]


def is_in_library(path: str) -> bool:
    return path == ROOT or paths.is_below(path, ROOT)
