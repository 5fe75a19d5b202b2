"""The sizes that are wanted of a picture and the names their files get. Pure.

A box is what a picture must fit into; a rendition keeps the ratio of its original and is never larger than it,
so the name holds the box and not the size of the picture in it.
"""

import re
from dataclasses import dataclass

_CONFIG = re.compile(r"(\d{1,5}):(\d{1,5})(?::(true|false))?")


class ConfigInvalid(ValueError):
    """The CONFIGS argument of a thumbnail step cannot be read."""


@dataclass(frozen=True)
class Box:
    width: int
    height: int
    # True: the canvas is exactly this box, with the picture in its middle.
    is_centered: bool = False

    @property
    def thumbnail_name(self) -> str:
        return f"cq5dam.thumbnail.{self.width}.{self.height}.png"

    def web_name(self, extension: str) -> str:
        return f"cq5dam.web.{self.width}.{self.height}.{extension}"


@dataclass(frozen=True)
class Wanted:
    """All renditions of one picture, so that a maker can make them from one load."""

    thumbnails: tuple[Box, ...]
    web: Box
    quality: int = 90
    # Originals of these types get their web rendition as PNG, the rest as JPEG unless they are transparent.
    kept_formats: frozenset[str] = frozenset({"image/png", "image/gif"})

    @property
    def largest(self) -> Box:
        """Return the box that holds every wanted one: what a picture is shrunk to while it is loaded."""
        boxes = (*self.thumbnails, self.web)
        return Box(max(box.width for box in boxes), max(box.height for box in boxes))


@dataclass(frozen=True)
class Rendition:
    name: str
    mime_type: str
    width: int
    height: int
    data: bytes


def parse_configs(text: str) -> tuple[Box, ...]:
    """Read `[140:100:false,48:48]`: width, height and whether the canvas is filled up. Raises ConfigInvalid."""
    parts = [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",") if part.strip()]
    matches = [_CONFIG.fullmatch(part) for part in parts]
    for part, match in zip(parts, matches, strict=True):
        if match is None or "0" in (match[1], match[2]):
            raise ConfigInvalid(f"thumbnail config '{part}' is not width:height or width:height:true")
    return tuple(Box(int(m[1]), int(m[2]), m[3] == "true") for m in matches if m)
