"""EXIF, from the header fields of libvips to the property names and value forms of XMP (its EXIF schema). Pure.

libvips writes a tag as `value (for people, Type, n components, n bytes)` under `exif-ifd<n>-<Tag>`. The raw value is
taken, except where the standard keeps text in a binary type.
"""

import re
from collections.abc import Mapping
from typing import Any

_FIELD = re.compile(r"exif-ifd([023])-(\w+)")
_VALUE = re.compile(
    r"(?P<both>.*), (?P<type>Byte|ASCII|Short|Long|Rational|SByte|Undefined|SShort|SLong|SRational|Float|Double)"
    r", (?P<count>\d+) components, \d+ bytes\)",
    re.DOTALL,
)
_DATE = re.compile(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)")
_NUMBER_TYPES = {"Byte", "Short", "Long", "SByte", "SShort", "SLong"}

# The tags of the first directory that the XMP specification puts into the tiff namespace.
_TIFF = frozenset(
    (
        *("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright"),
        *("Orientation", "XResolution", "YResolution", "ResolutionUnit"),
        *("BitsPerSample", "SamplesPerPixel", "Compression", "PhotometricInterpretation", "PlanarConfiguration"),
        *("YCbCrPositioning", "YCbCrSubSampling", "WhitePoint", "PrimaryChromaticities"),
    )
)
# Binary by type, but short and readable; what else is of type Undefined (MakerNote above all) is dropped.
_READABLE = frozenset({"ExifVersion", "FlashpixVersion", "FileSource", "SceneType", "ComponentsConfiguration"})
_DATES = frozenset({"DateTime", "DateTimeOriginal", "DateTimeDigitized"})
_POSITIONS = {"GPSLatitude": ("GPSLatitudeRef", 90), "GPSLongitude": ("GPSLongitudeRef", 180)}


def properties(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return `tiff:*` and `exif:*` properties from the header fields of a picture."""
    found: dict[str, Any] = {}
    raw: dict[str, str] = {}
    for field, text in fields.items():
        match = _FIELD.fullmatch(field)
        parsed = _parse(text) if match else None
        if match is None or parsed is None:
            continue
        directory, tag = match.groups()
        value, kind, count = parsed
        raw[tag] = value
        if kind == "Undefined" and tag not in _READABLE:
            continue
        if directory == "0" and tag in _TIFF:
            found[f"tiff:{tag}"] = _value(tag, value, kind, count)
        elif directory != "0":
            found[f"exif:{tag}"] = _value(tag, value, kind, count)
    return _with_positions(found, raw)


def position(coordinate: str, direction: str, limit: int) -> str | None:
    """Return "43,28.04690000N" for "43/1 28/1 2814/1000" and "N": the form in which XMP writes a coordinate."""
    degrees = _degrees(coordinate)
    direction = direction.strip().upper()[:1]
    if degrees is None or degrees > limit or direction not in tuple("NSEW"):
        return None
    whole = int(degrees)
    return f"{whole},{(degrees - whole) * 60:.6f}{direction}"


def _parse(text: str) -> tuple[str, str, int] | None:
    match = _VALUE.fullmatch(text)
    if match is None:
        return None
    both, kind = match["both"], match["type"]
    if kind in ("ASCII", "Undefined"):
        # Raw and readable form are the same text here: split in the middle, for it may have parentheses of its own.
        half = (len(both) - 2) // 2
        value = both[:half] if both[half : half + 2] == " (" else both.split(" (", 1)[0]
    else:
        value = both.split(" (", 1)[0]
    return value, kind, int(match["count"])


def _value(tag: str, value: str, kind: str, count: int) -> Any:
    if tag in _DATES and (date := _DATE.fullmatch(value.strip())):
        return f"{date[1]}-{date[2]}-{date[3]}T{date[4]}"
    if kind in _NUMBER_TYPES:
        numbers = [int(part) if re.fullmatch(r"-?\d+", part) else part for part in value.split()]
        if count == 1 and len(numbers) == 1:
            return numbers[0]
        return numbers if all(isinstance(number, int) for number in numbers) else value
    if count > 1 and kind in ("Rational", "SRational"):
        return value.split()
    return value


def _with_positions(found: dict[str, Any], raw: Mapping[str, str]) -> dict[str, Any]:
    for tag, (reference, limit) in _POSITIONS.items():
        found.pop(f"exif:{reference}", None)
        if found.pop(f"exif:{tag}", None) is not None:
            found[f"exif:{tag}"] = position(raw[tag], raw.get(reference, ""), limit)
    return {name: value for name, value in found.items() if value is not None}


def _degrees(coordinate: str) -> float | None:
    """Add up degrees, minutes and seconds given as fractions."""
    total = 0.0
    for power, part in enumerate(coordinate.split()[:3]):
        numerator, _, denominator = part.partition("/")
        if not numerator.isdecimal() or not denominator.isdecimal() or int(denominator) == 0:
            return None
        total += int(numerator) / int(denominator) / 60**power
    return total if coordinate.strip() else None
