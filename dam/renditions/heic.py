"""Maker for HEIC, which pillow-heif decodes and hands over to libvips in memory.

libheif turns and mirrors by the file's own transformations while decoding, so its pictures are upright already: the
EXIF orientation that phones write beside them must not be followed again.
"""

from collections.abc import Iterator
from pathlib import Path

import pillow_heif

from dam import media, vips
from dam.renditions import canvas
from dam.renditions.boxes import Rendition, Wanted

_BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_INTERPRETATIONS = {1: "b-w", 2: "b-w", 3: "srgb", 4: "srgb"}


def make(path: Path, mime_type: str, wanted: Wanted) -> Iterator[Rendition]:
    """Make all wanted renditions from one decoding of the primary picture. Raises media.PictureRefused."""
    largest = wanted.largest
    try:
        picture = _decode(path).thumbnail_image(largest.width, height=largest.height, size="down", no_rotate=True)
        yield from canvas.renditions(canvas.to_srgb(picture).copy_memory(), mime_type, wanted)
    except vips.Error as error:
        raise vips.refusal(error) from error


def _decode(path: Path) -> vips.Image:
    try:
        heif = pillow_heif.open_heif(path, convert_hdr_to_8bit=True)
        width, height = heif.size
        vips.check_size(width, height)
        bands = _BANDS[heif.mode]
        pixels = _without_padding(heif.data, heif.stride, width * bands, height)
    except (OSError, EOFError, RuntimeError, KeyError, SyntaxError) as error:
        raise vips.refusal(error) from error
    except ValueError as error:
        if isinstance(error, media.PictureRefused):
            raise
        raise vips.refusal(error) from error
    image = vips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    image = image.copy(interpretation=_INTERPRETATIONS[bands])
    if profile := heif.info.get("icc_profile"):
        image.set_type(vips.BLOB, "icc-profile-data", profile)
    return image


def _without_padding(data: bytes, stride: int, row_bytes: int, rows: int) -> bytes:
    if stride == row_bytes:
        return data
    view = memoryview(data)
    return b"".join(view[row * stride : row * stride + row_bytes] for row in range(rows))
