"""What is known about an original, from all readers together, in its bounds."""

import hashlib
from datetime import UTC, datetime

import pytest
from PIL import Image

from dam import media
from dam.metadata import bounds, readers
from tests.dam import pictures

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def read(tmp_path, data, mime_type="image/jpeg"):
    return readers.read(pictures.write(tmp_path, "x", data), mime_type, now=NOW)


def test_every_file_has_size_checksum_and_type(tmp_path):
    assert read(tmp_path, b"words", media.TEXT) == {
        "dc:format": "text/plain",
        "dam:size": 5,
        "dam:sha1": hashlib.sha1(b"words").hexdigest(),
        "dam:extracted": "2026-01-02T03:04:05.000+00:00",
    }


def test_picture_has_its_measures(tmp_path):
    found = read(tmp_path, pictures.jpeg(pictures.corner(400, 300), dpi=(300, 300), progressive=True))
    assert (
        found.items()
        >= {
            "dam:MIMEtype": "image/jpeg",
            "dam:Fileformat": "JPEG",
            "dam:Bitsperpixel": 24,
            "dam:Numberofimages": 1,
            "dam:Progressive": "yes",
            "dam:Physicalwidthindpi": 300,
            "dam:Physicalheightininches": 1.0,
            "tiff:ImageWidth": 400,
            "tiff:ImageLength": 300,
        }.items()
    )


def test_tags_of_the_camera_are_found(tmp_path):
    tags = Image.Exif()
    tags[0x010F] = "Canon"
    tags[0x0112] = 6
    details = tags.get_ifd(0x8769)
    details[0x9003] = "2020:05:06 07:08:09"
    details[0x8827] = 200
    position = tags.get_ifd(0x8825)
    position[1], position[2] = "N", (52.0, 30.0, 36.0)
    position[3], position[4] = "E", (13.0, 22.0, 12.0)
    found = read(tmp_path, pictures.jpeg(exif=tags.tobytes()))
    assert (
        found.items()
        >= {
            "tiff:Make": "Canon",
            "tiff:Orientation": 6,
            "exif:DateTimeOriginal": "2020-05-06T07:08:09",
            "exif:ISOSpeedRatings": 200,
            "exif:GPSLatitude": "52,30.600000N",
            "exif:GPSLongitude": "13,22.200000E",
        }.items()
    )


def test_packet_adds_what_the_camera_did_not_say(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6
    packet = pictures.xmp_packet(
        "<dc:title>House</dc:title><dc:format>text/html</dc:format>"
        '<t:Orientation xmlns:t="http://ns.adobe.com/tiff/1.0/">1</t:Orientation>'
    )
    found = read(tmp_path, pictures.jpeg(exif=tags.tobytes(), xmp=packet))
    assert found["dc:title"] == "House"
    assert found["tiff:Orientation"] == 6, "the camera is believed before the packet"
    assert found["dc:format"] == "image/jpeg", "and the bytes before both"


@pytest.mark.parametrize(
    ("data", "mime_type", "name"),
    [
        (pictures.saved(pictures.corner(), "PNG"), "image/png", "PNG"),
        (pictures.saved(pictures.corner(), "GIF"), "image/gif", "GIF"),
        (pictures.saved(pictures.corner(), "WEBP"), "image/webp", "WebP"),
        (pictures.saved(pictures.corner(), "TIFF"), "image/tiff", "TIFF"),
        (pictures.saved(pictures.corner(), "AVIF"), "image/avif", "AVIF"),
        (pictures.heic(pictures.corner()), "image/heic", "HEIC"),
    ],
)
def test_every_format_tells_its_size(tmp_path, data, mime_type, name):
    found = read(tmp_path, data, mime_type)
    assert (found["dam:Fileformat"], found["tiff:ImageWidth"], found["tiff:ImageLength"]) == (name, 400, 300)


def test_broken_tags_do_not_hide_the_others(tmp_path):
    tags = Image.Exif()
    tags[0x010F] = b"\xff\xfe\x00\x01 broken"
    tags[0x0110] = "Model"
    found = read(tmp_path, pictures.jpeg(exif=tags.tobytes()))
    assert found["tiff:Model"] == "Model"
    assert "tiff:Make" not in found


def test_picture_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(media.PictureRefused, match="cannot be read as a picture"):
        read(tmp_path, b"\xff\xd8\xff words")


# --- Bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text", "text"),
        (" padded \0\0", "padded"),
        ("two\nlines", "two\nlines"),
        ("x" * 5000, "x" * bounds.MAX_TEXT),
        ("bin\x01ary", None),
        ("half \ufffd", None),
        ("half \ud800", None),
        (7, 7),
        (2**63, None),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        (True, True),
        (["a", "", "\x01", "b"], ["a", "b"]),
        (list(range(300)), list(range(bounds.MAX_ITEMS))),
        ({"a": 1}, None),
        (b"bytes", None),
        (None, None),
    ],
)
def test_value_is_kept_in_its_bounds_or_dropped(value, kept):
    assert bounds.clean(value) == kept


def test_only_so_many_properties_are_kept():
    many = {f"dc:p{number}": "x" for number in range(bounds.MAX_PROPERTIES + 50)}
    assert len(bounds.keep(many)) == bounds.MAX_PROPERTIES
    assert bounds.keep({"a": "", "b": [], "c": "\x01", "d": 0, "e": False}) == {"d": 0, "e": False}
