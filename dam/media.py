"""What kind of file something is: by its name, by its first bytes, and whether the two agree. Pure.

Only the families that people drop into a library are told apart by their bytes. A file whose name promises a
picture must hold one; which kind of picture is believed to the bytes, because a PNG named .jpg is a common slip.
"""

import mimetypes
from pathlib import PurePosixPath

# Enough for every signature below, and to tell text from binary.
HEAD_BYTES = 4096

UNKNOWN = "application/octet-stream"
TEXT = "text/plain"

# Said here because the tables of machines differ, and two instances must call one file the same.
_BY_EXTENSION = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heic",
    ".svg": "image/svg+xml",
    ".bmp": "image/bmp",
    ".psd": "image/vnd.adobe.photoshop",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".pdf": "application/pdf",
    ".txt": TEXT,
}

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"BM", "image/bmp"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"MZ", "application/x-msdownload"),
    (b"\x7fELF", "application/x-executable"),
    (b"ID3", "audio/mpeg"),
)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

_FOR_PEOPLE = {
    TEXT: "plain text",
    UNKNOWN: "of no kind that is known here",
    "text/html": "a web page",
    "image/svg+xml": "an SVG drawing",
    "application/pdf": "a PDF document",
    "application/zip": "a ZIP archive",
    "application/x-msdownload": "a Windows program",
    "application/x-executable": "a program",
    "audio/mpeg": "a sound file",
    "video/mp4": "a film",
    "video/quicktime": "a film",
}

# The families that are rendered; anything else is stored and described, without a picture.
RASTER = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/tiff", "image/avif", "image/heic"})


class PictureRefused(ValueError):
    """A file cannot be processed as a picture. The text goes on after the name of the file, for its uploader."""


def by_name(name: str) -> str:
    """Return the MIME type that the extension of `name` stands for."""
    extension = PurePosixPath(name).suffix.lower()
    return _BY_EXTENSION.get(extension) or mimetypes.guess_type("x" + extension)[0] or UNKNOWN


def by_bytes(head: bytes) -> str:
    """Return the MIME type that the first bytes of a file show, UNKNOWN if they show none."""
    for signature, mime_type in _SIGNATURES:
        if head.startswith(signature):
            return mime_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _by_brands(head)
    return _text_kind(head)


def settle(name: str, head: bytes) -> str:
    """Return the MIME type of a file from its name and first bytes.

    Raises PictureRefused if the name promises a picture that is rendered here and the bytes hold none.
    """
    named, found = by_name(name), by_bytes(head)
    if named not in RASTER:
        return named
    if found in RASTER:
        return found
    raise PictureRefused(
        f"is not a picture: its bytes are {_FOR_PEOPLE.get(found, found)}. Replace it with the picture itself."
    )


def _by_brands(head: bytes) -> str:
    """Tell the members of the ISO base media family apart by their major and compatible brands."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "image/avif"
    if brands & _HEIC_BRANDS:
        return "image/heic"
    return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"


def _text_kind(head: bytes) -> str:
    try:
        # A character cut in two at the end of the head is no reason to call a text binary.
        text = head.decode() if len(head) < HEAD_BYTES else head[:-4].decode(errors="strict")
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 8:
            return UNKNOWN
        text = head[: error.start].decode()
    if not text or any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return UNKNOWN
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html")):
        return "text/html"
    return "image/svg+xml" if "<svg" in start[:1000] else TEXT
