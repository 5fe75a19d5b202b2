"""All that is known about an original, from every reader that understands it, under the names of the talk's DAM.

Readers are named, not imported, for the reason given in renditions/makers.py. A later one overrules an earlier one.
"""

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

from dam import media
from dam.metadata import bounds, original

_READERS = dict.fromkeys(media.RASTER, "dam.metadata.picture")

# What extraction owns: gone from the node when the new original does not have it. A person's own fields stay.
OWNED_PREFIXES = ("dam:", "tiff:", "exif:", "exifEX:", "aux:", "xmp:", "xmpMM:", "photoshop:")


def read(path: Path, mime_type: str, *, now: datetime) -> dict[str, Any]:
    """Return the metadata properties of the file at `path`. Raises media.PictureRefused."""
    found: dict[str, Any] = {}
    if mime_type in _READERS:
        found |= importlib.import_module(_READERS[mime_type]).read(path, mime_type)
    facts = {"dc:format": mime_type, **original.read(path), "dam:extracted": now.isoformat(timespec="milliseconds")}
    # Ours first: what the bounds cut off is the tail of what the file brought along.
    return bounds.keep({**facts, **{name: value for name, value in found.items() if name not in facts}})
