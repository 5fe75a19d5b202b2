"""Facts from the header of a picture: its measures, its EXIF tags and its XMP packet. No pixel is decoded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dam import vips
from dam.metadata import exif, xmp

_FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WebP",
    "image/tiff": "TIFF",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
}
_BITS = {"uchar": 8, "char": 8, "ushort": 16, "short": 16, "uint": 32, "int": 32, "float": 32, "double": 64}
_MM_PER_INCH = 25.4


def read(path: Path, mime_type: str) -> dict[str, Any]:
    """Return the facts, the surest first: what was measured, then EXIF, then XMP. Raises media.PictureRefused."""
    image = vips.open_header(path)
    fields = dict(_text_fields(image))
    packet = image.get("xmp-data") if image.get_typeof("xmp-data") else b""
    facts = _measures(image, mime_type)
    for source in (exif.properties(fields), xmp.properties(packet)):
        facts |= {name: value for name, value in source.items() if name not in facts}
    return facts


def _measures(image: vips.Image, mime_type: str) -> dict[str, Any]:
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else _BITS.get(image.format, 8)
    facts: dict[str, Any] = {
        "dam:MIMEtype": mime_type,
        "dam:Fileformat": _FORMATS[mime_type],
        "dam:Bitsperpixel": bits * image.bands,
        "dam:Numberofimages": image.get("n-pages") if image.get_typeof("n-pages") else 1,
        "tiff:ImageWidth": image.width,
        "tiff:ImageLength": image.height,
    }
    if mime_type == "image/jpeg":
        facts["dam:Progressive"] = "yes" if image.get("jpeg-multiscan") else "no"
    # libvips says 1 pixel a millimetre where a file says nothing.
    if image.xres > 1 and image.yres > 1:
        across, down = image.xres * _MM_PER_INCH, image.yres * _MM_PER_INCH
        facts |= {
            "dam:Physicalwidthindpi": round(across),
            "dam:Physicalheightindpi": round(down),
            "dam:Physicalwidthininches": round(image.width / across, 4),
            "dam:Physicalheightininches": round(image.height / down, 4),
        }
    return facts


def _text_fields(image: vips.Image) -> Iterator[tuple[str, str]]:
    for field in image.get_fields():
        if not field.startswith("exif-ifd"):
            continue
        try:
            yield field, image.get(field)
        except UnicodeDecodeError:
            # Not the text that it claims to be: one broken tag less.
            continue
