"""Pictures made for tests: a gradient with one red corner, so that a turn, a mirror or a wrong colour shows."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pillow_heif
from PIL import Image, ImageCms

RED = (220, 20, 20)
GREEN = (20, 160, 60)


def corner(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    """Return a green picture whose upper left quarter is red."""
    image = Image.new("RGB", (width, height), GREEN)
    image.paste(RED, (0, 0, width // 2, height // 2))
    return image.convert(mode)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return saved(image or corner(), "JPEG", **({"quality": 92} | options))


def saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def heic(image: Image.Image, orientation: int = 1) -> bytes:
    """Return a HEIC that shows `image` after the turn that `orientation` asks for; said twice, as phones do it."""
    heif = pillow_heif.from_bytes(image.mode, image.size, image.tobytes())
    buffer = BytesIO()
    heif.save(buffer, quality=90, exif=exif(orientation))
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def oriented(orientation: int) -> bytes:
    """Return a JPEG that shows `corner()` upright once its EXIF orientation is followed."""
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = corner()
    for step in undo.get(orientation, []):
        image = image.transpose(step)
    return jpeg(image, exif=exif(orientation))


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """Return an RGB profile in which red and green have changed places: whoever ignores it shows the wrong colour."""
    profile = bytearray(srgb_profile())
    count = struct.unpack(">I", profile[128:132])[0]
    entries = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return bytes(profile)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and brings no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a good JPEG whose header claims another size."""
    data = jpeg()
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[start + 4 :]


def xmp_packet(properties: str) -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:own="http://example.org/own/">'
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
