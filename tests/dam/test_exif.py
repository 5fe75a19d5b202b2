"""EXIF tags under the names and in the forms of XMP."""

import pytest

from dam.metadata import exif


def text(value, kind="ASCII", count=None, readable=None):
    count = len(value) + 1 if count is None else count
    return f"{value} ({value if readable is None else readable}, {kind}, {count} components, 1 bytes)"


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("exif-ifd0-Make", text("NIKON"), {"tiff:Make": "NIKON"}),
        ("exif-ifd0-Model", text("X (new), mark 2"), {"tiff:Model": "X (new), mark 2"}),
        ("exif-ifd0-Orientation", text("6", "Short", 1, "Right-top"), {"tiff:Orientation": 6}),
        ("exif-ifd0-XResolution", text("72/1", "Rational", 1, "72"), {"tiff:XResolution": "72/1"}),
        ("exif-ifd0-DateTime", text("2008:11:01 21:15:07"), {"tiff:DateTime": "2008-11-01T21:15:07"}),
        ("exif-ifd0-DateTime", text("yesterday"), {"tiff:DateTime": "yesterday"}),
        ("exif-ifd2-ISOSpeedRatings", text("64", "Short", 1), {"exif:ISOSpeedRatings": 64}),
        ("exif-ifd2-SubjectArea", text("1 2 3", "Short", 3, "Within"), {"exif:SubjectArea": [1, 2, 3]}),
        (
            "exif-ifd2-LensSpecification",
            text("1/1 6/1 9/5 12/5", "Rational", 4, "1, 6, 1.8, 2.4"),
            {"exif:LensSpecification": ["1/1", "6/1", "9/5", "12/5"]},
        ),
        ("exif-ifd2-ShutterSpeedValue", text("-3/2", "SRational", 1, "x"), {"exif:ShutterSpeedValue": "-3/2"}),
        ("exif-ifd2-ExifVersion", text("Exif Version 2.2", "Undefined", 4), {"exif:ExifVersion": "Exif Version 2.2"}),
        ("exif-ifd2-MakerNote", text("9 bytes undefined data", "Undefined", 9), {}),
        ("exif-ifd2-UserComment", text("hello", "Undefined", 13), {}),
        ("exif-ifd0-PrintImageMatching", text("x", "Undefined", 1), {}),
        ("exif-ifd0-XPTitle", text("x", "Byte", 1), {}),
        ("exif-ifd1-Compression", text("6", "Short", 1), {}),
        ("exif-ifd2-Broken", "no such form", {}),
        ("jpeg-multiscan", "0", {}),
    ],
)
def test_tag_becomes_a_property(field, value, found):
    assert exif.properties({field: value}) == found


@pytest.mark.parametrize(
    ("coordinate", "direction", "limit", "written"),
    [
        ("43/1 28/1 281400000/100000000", "N", 90, "43,28.046900N"),
        ("39/1 3/1 484/100", "N", 90, "39,3.080667N"),
        ("94/1 17/1 1958/100", "W", 180, "94,17.326333W"),
        ("55/1 3033/100 0/1", "s", 90, "55,30.330000S"),
        ("0/1 0/1 0/1", "E", 180, "0,0.000000E"),
        ("91/1 0/1 0/1", "N", 90, None),
        ("43/0 28/1 0/1", "N", 90, None),
        ("43/1 28/1 0/1", "", 90, None),
        ("here", "N", 90, None),
        ("", "N", 90, None),
    ],
)
def test_coordinates_are_written_as_in_xmp(coordinate, direction, limit, written):
    assert exif.position(coordinate, direction, limit) == written


def test_position_takes_its_reference_in():
    fields = {
        "exif-ifd3-GPSLatitudeRef": text("S"),
        "exif-ifd3-GPSLatitude": text("33/1 51/1 0/1", "Rational", 3, "33, 51, 0"),
        "exif-ifd3-GPSLongitude": text("151/1 12/1 0/1", "Rational", 3, "151, 12, 0"),
    }
    assert exif.properties(fields) == {"exif:GPSLatitude": "33,51.000000S"}, "without a reference it says nothing"
