"""libvips with the limits it must have before it sees a file from outside, and what its errors mean to people.

Import this, never pyvips itself, and only in the process that reads pictures: libvips starts threads, which do not
survive a fork, and an instance's web and agent processes have no use for its memory.
"""

import logging
from pathlib import Path
from typing import TypeAlias

import pyvips
from django.conf import settings

from dam.media import PictureRefused

# What libvips remarks about odd tags in other people's files is nothing an operator can act on; what stops a picture
# is raised, and shown at its asset.
logging.getLogger("pyvips").setLevel(logging.ERROR)
# Loaders that libvips itself does not trust with foreign bytes (SVG, BMP, JPEG 2000 and others) stay shut.
pyvips.block_untrusted_set(True)
# One worker slot a core is the best throughput; threads inside one picture only take cores from other pictures.
pyvips.concurrency_set(1)
# No picture is asked for twice, and a cached one holds its memory and its open file.
pyvips.cache_set_max(0)

Image: TypeAlias = pyvips.Image
BLOB = pyvips.GValue.blob_type
Error = pyvips.Error


def open_header(path: Path) -> Image:
    """Open a picture without reading a pixel, its size checked. Raises PictureRefused."""
    try:
        image = Image.new_from_file(str(path), access="sequential", fail_on="error")
    except Error as error:
        raise refusal(error) from error
    check_size(image.width, image.height)
    return image


def check_size(width: int, height: int) -> None:
    limit = settings.OFFLOADING_MAX_PIXELS
    if width * height > limit:
        raise PictureRefused(
            f"has {width:,} x {height:,} pixels, which is {width * height / 1e6:,.0f} million; "
            f"pictures of up to {limit / 1e6:,.0f} million are processed. Replace it with a smaller one."
        )


def refusal(error: Exception) -> PictureRefused:
    """Say what an error of a decoder means to the person who uploaded the picture."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # pyvips puts "unable to call …" first; what the decoder itself said follows. One line of it is enough.
    said = next((line for line in lines if not line.startswith("unable to ")), "it cannot be decoded")
    return PictureRefused(f"cannot be read as a picture, it is damaged or cut off ({said[:200]}). Replace it.")
