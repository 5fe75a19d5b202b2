"""Which maker renders which MIME type. A new media family is one module with a `make` and its lines in this table.

Makers are named, not imported: each brings a decoder along that only the process that renders should load.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path

from dam.renditions.boxes import Rendition, Wanted

_RASTER = "dam.renditions.raster"
_MAKERS = {
    "image/avif": _RASTER,
    "image/gif": _RASTER,
    "image/jpeg": _RASTER,
    "image/png": _RASTER,
    "image/tiff": _RASTER,
    "image/webp": _RASTER,
    "image/heic": "dam.renditions.heic",
}


def make(path: Path, mime_type: str, wanted: Wanted) -> Iterator[Rendition]:
    """Make the renditions of a file; none at all for a type that no maker takes. Raises media.PictureRefused."""
    if mime_type in _MAKERS:
        maker = importlib.import_module(_MAKERS[mime_type])
        yield from maker.make(path, mime_type, wanted)
