"""Maker for the picture formats that libvips decodes itself: JPEG, PNG, GIF, WebP, TIFF, AVIF."""

from collections.abc import Iterator
from pathlib import Path

from dam import vips
from dam.renditions import canvas
from dam.renditions.boxes import Rendition, Wanted


def make(path: Path, mime_type: str, wanted: Wanted) -> Iterator[Rendition]:
    """Make all wanted renditions from one load, shrunk while decoding, upright by EXIF. Raises media.PictureRefused."""
    vips.open_header(path)
    largest = wanted.largest
    try:
        picture = vips.Image.thumbnail(
            str(path), largest.width, height=largest.height, size="down", fail_on="error"
        ).copy_memory()
        yield from canvas.renditions(canvas.to_srgb(picture).copy_memory(), mime_type, wanted)
    except vips.Error as error:
        raise vips.refusal(error) from error
