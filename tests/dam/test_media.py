"""What kind of file it is, by name and by bytes."""

import os
import subprocess
import sys

import pytest

from dam import media
from tests.dam import pictures


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("photo.jpg", "image/jpeg"),
        ("PHOTO.JPEG", "image/jpeg"),
        ("a.b.png", "image/png"),
        ("scan.TIF", "image/tiff"),
        ("phone.heic", "image/heic"),
        ("film.mp4", "video/mp4"),
        ("page.html", "text/html"),
        ("nameless", media.UNKNOWN),
        ("odd.doesnotexist", media.UNKNOWN),
        (".jpg", media.UNKNOWN),
    ],
)
def test_name_tells_the_type(name, mime_type):
    assert media.by_name(name) == mime_type


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (pictures.jpeg(), "image/jpeg"),
        (pictures.saved(pictures.corner(), "PNG"), "image/png"),
        (pictures.saved(pictures.corner(), "GIF"), "image/gif"),
        (pictures.saved(pictures.corner(), "WEBP"), "image/webp"),
        (pictures.saved(pictures.corner(), "TIFF"), "image/tiff"),
        (pictures.saved(pictures.corner(), "BMP"), "image/bmp"),
        (pictures.heic(pictures.corner()), "image/heic"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf", "image/avif"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "image/avif"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "video/quicktime"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isommp42", "video/mp4"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04 and so on", "application/zip"),
        (b"MZ\x90", "application/x-msdownload"),
        (b"just words", media.TEXT),
        ("größer".encode(), media.TEXT),
        (("ü" * media.HEAD_BYTES).encode()[1 : media.HEAD_BYTES + 1], media.UNKNOWN),
        (("x" + "ü" * media.HEAD_BYTES).encode()[: media.HEAD_BYTES], media.TEXT),
        (b"  <!DOCTYPE html><p>", "text/html"),
        (b'<?xml version="1.0"?><svg xmlns="x">', "image/svg+xml"),
        (b"\x00\x01\x02\x03", media.UNKNOWN),
        (b"\xff\xfe\x00", media.UNKNOWN),
        (b"", media.UNKNOWN),
    ],
)
def test_bytes_tell_the_type(data, mime_type):
    assert media.by_bytes(data[: media.HEAD_BYTES]) == mime_type


def test_picture_of_another_kind_is_taken_for_what_it_is():
    assert media.settle("really-a-png.jpg", pictures.saved(pictures.corner(), "PNG")) == "image/png"


def test_file_that_promises_no_picture_is_called_by_its_name():
    assert media.settle("notes.txt", b"words") == media.TEXT
    assert media.settle("drawing.svg", b"<svg>") == "image/svg+xml"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"not a picture", "plain text"),
        (b"<html>", "a web page"),
        (b"MZ\x90", "a Windows program"),
        (b"\x00\x01\x02", "of no kind that is known here"),
    ],
)
def test_name_that_promises_a_picture_must_hold_one(data, kind):
    with pytest.raises(media.PictureRefused, match=f"^is not a picture: its bytes are {kind}. Replace it"):
        media.settle("text.jpg", data)


def test_decoders_are_loaded_only_where_pictures_are_read(tmp_path):
    """libvips starts threads, which do not survive the fork of a worker; and it is memory that a web process lacks."""
    code = "import django, sys; django.setup(); print({'pyvips', 'pillow_heif'} & set(sys.modules))"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "OFFLOADING_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "set()"
