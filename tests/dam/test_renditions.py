"""Renditions of every kind of picture: upright, in the right colours, of the right size, or refused with a cause."""

from io import BytesIO

import pillow_heif
import pytest
from PIL import Image

from dam import media
from dam.renditions import boxes, makers
from dam.renditions.boxes import Box
from tests.dam import pictures

WANTED = boxes.Wanted((Box(140, 100), Box(48, 48), Box(319, 319)), Box(1280, 1280))


def made(path, mime_type="", wanted=WANTED):
    mime_type = mime_type or media.by_bytes(path.read_bytes()[: media.HEAD_BYTES])
    return {rendition.name: rendition for rendition in makers.make(path, mime_type, wanted)}


def opened(rendition):
    image = Image.open(BytesIO(rendition.data))
    assert image.size == (rendition.width, rendition.height)
    assert Image.MIME[image.format] == rendition.mime_type
    return image


def is_near(found, wanted, tolerance=12):
    return all(abs(one - other) <= tolerance for one, other in zip(found[:3], wanted, strict=True))


def assert_shows_corner(rendition, tolerance=12):
    """The upper left quarter is red and the three others green."""
    image = opened(rendition).convert("RGB")
    width, height = image.size
    quarters = [image.getpixel((width * x // 4, height * y // 4)) for y in (1, 3) for x in (1, 3)]
    wanted = [pictures.RED, pictures.GREEN, pictures.GREEN, pictures.GREEN]
    assert all(is_near(*pair, tolerance) for pair in zip(quarters, wanted, strict=True)), quarters


def test_four_renditions_come_with_the_names_of_the_talk(tmp_path):
    renditions = made(pictures.write(tmp_path, "x", pictures.jpeg(pictures.corner(2000, 1200))))
    assert {name: (r.width, r.height, r.mime_type) for name, r in renditions.items()} == {
        "cq5dam.thumbnail.140.100.png": (140, 84, "image/png"),
        "cq5dam.thumbnail.48.48.png": (48, 29, "image/png"),
        "cq5dam.thumbnail.319.319.png": (319, 191, "image/png"),
        "cq5dam.web.1280.1280.jpeg": (1280, 768, "image/jpeg"),
    }
    for rendition in renditions.values():
        assert_shows_corner(rendition)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(tmp_path, orientation):
    renditions = made(pictures.write(tmp_path, "x", pictures.oriented(orientation)))
    for rendition in renditions.values():
        assert_shows_corner(rendition)
    assert (renditions["cq5dam.web.1280.1280.jpeg"].width, renditions["cq5dam.web.1280.1280.jpeg"].height) == (400, 300)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_not_turned_twice(tmp_path, orientation):
    turned = Image.open(BytesIO(pictures.oriented(orientation)))
    turned.load()
    path = pictures.write(tmp_path, "x", pictures.heic(turned, orientation))
    heif = pillow_heif.open_heif(path)
    assert heif.size == (400, 300), "the file turns itself"
    assert heif.info["exif"], "and its EXIF says so too"
    renditions = made(path, "image/heic")
    for rendition in renditions.values():
        assert_shows_corner(rendition, tolerance=20)


FORMATS = {
    "jpeg": pictures.jpeg(),
    "progressive": pictures.jpeg(progressive=True),
    "png": pictures.saved(pictures.corner(), "PNG"),
    "palette": pictures.saved(pictures.corner().quantize(8), "PNG"),
    "gif": pictures.saved(pictures.corner(), "GIF"),
    "webp": pictures.saved(pictures.corner(), "WEBP", quality=95),
    "tiff": pictures.saved(pictures.corner(), "TIFF", compression="tiff_lzw"),
    "avif": pictures.saved(pictures.corner(), "AVIF", quality=95),
    "heic": pictures.heic(pictures.corner()),
    "odd heic": pictures.heic(pictures.corner(401, 301)),
    "animation": pictures.saved(
        pictures.corner(), "GIF", save_all=True, append_images=[Image.new("RGB", (400, 300))], loop=0
    ),
    "pages": pictures.saved(pictures.corner(), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_rendered(tmp_path, kind):
    for rendition in made(pictures.write(tmp_path, "x", FORMATS[kind])).values():
        assert_shows_corner(rendition, tolerance=20)


COLOURS = {
    "cmyk": (pictures.jpeg(pictures.corner(mode="CMYK")), 60),
    "cmyk tiff": (pictures.saved(pictures.corner(mode="CMYK"), "TIFF"), 60),
    "srgb profile": (pictures.jpeg(icc_profile=pictures.srgb_profile()), 12),
    "broken profile": (pictures.jpeg(icc_profile=b"no profile at all" * 20), 12),
    "profile of another model": (pictures.jpeg(pictures.corner(mode="CMYK"), icc_profile=pictures.srgb_profile()), 60),
    "ycbcr": (pictures.jpeg(pictures.corner(mode="YCbCr")), 12),
}


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_end_in_srgb(tmp_path, kind):
    data, tolerance = COLOURS[kind]
    for rendition in made(pictures.write(tmp_path, "x", data)).values():
        assert opened(rendition).mode in ("RGB", "RGBA")
        assert_shows_corner(rendition, tolerance)


def test_embedded_profile_is_followed_and_not_passed_on(tmp_path):
    data = pictures.jpeg(icc_profile=pictures.swapped_profile())
    for rendition in made(pictures.write(tmp_path, "x", data)).values():
        image = opened(rendition)
        red, green, _ = image.convert("RGB").getpixel((image.width // 4, image.height // 4))
        assert green > red, "the profile says that the first channel is green"
        assert "icc_profile" not in image.info


GREYS = {
    "grey jpeg": (pictures.jpeg(pictures.corner(mode="L")), 80),
    "grey with alpha": (pictures.saved(pictures.corner(mode="LA"), "PNG"), 80),
    "sixteen bit": (pictures.saved(Image.new("I;16", (400, 300), 80 * 257), "PNG"), 80),
    "bilevel tiff": (pictures.saved(Image.new("1", (400, 300), 1), "TIFF", compression="group4"), 255),
    "bilevel png": (pictures.saved(Image.new("1", (400, 300), 1), "PNG"), 255),
}


@pytest.mark.parametrize("kind", GREYS)
def test_greys_keep_their_brightness(tmp_path, kind):
    data, brightness = GREYS[kind]
    for rendition in made(pictures.write(tmp_path, "x", data)).values():
        found = opened(rendition).convert("RGB").getpixel((2, 2))
        assert is_near(found, (brightness,) * 3, 6), (rendition.name, found)


def test_tiny_picture_is_not_enlarged(tmp_path):
    renditions = made(pictures.write(tmp_path, "x", pictures.jpeg(pictures.corner(20, 10))))
    assert {(r.width, r.height) for r in renditions.values()} == {(20, 10)}


def test_one_pixel_high_picture_survives(tmp_path):
    renditions = made(pictures.write(tmp_path, "x", pictures.saved(Image.new("RGB", (3000, 1)), "PNG")))
    assert {r.height for r in renditions.values()} == {1}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pictures.saved(pictures.corner(), "PNG"), "cq5dam.web.1280.1280.png"),
        (pictures.saved(pictures.corner(), "GIF"), "cq5dam.web.1280.1280.png"),
        (pictures.saved(pictures.corner(mode="RGBA"), "WEBP"), "cq5dam.web.1280.1280.png"),
        (pictures.saved(pictures.corner(), "WEBP"), "cq5dam.web.1280.1280.jpeg"),
        (pictures.saved(pictures.corner(), "TIFF"), "cq5dam.web.1280.1280.jpeg"),
    ],
)
def test_web_rendition_keeps_what_jpeg_would_lose(tmp_path, data, name):
    if name.endswith("png") and data[:4] == b"RIFF":
        image = Image.new("RGBA", (400, 300), (0, 0, 0, 0))
        data = pictures.saved(image, "WEBP", lossless=True)
    assert name in made(pictures.write(tmp_path, "x", data))


def test_transparency_stays(tmp_path):
    image = pictures.corner(mode="RGBA")
    image.putpixel((399, 299), (0, 0, 0, 0))
    image.paste((0, 0, 0, 0), (200, 150, 400, 300))
    for rendition in made(pictures.write(tmp_path, "x", pictures.saved(image, "PNG"))).values():
        shown = opened(rendition)
        assert shown.mode == "RGBA"
        assert shown.getpixel((shown.width * 3 // 4, shown.height * 3 // 4))[3] == 0
        assert is_near(shown.getpixel((shown.width // 4, shown.height // 4)), pictures.RED)


def test_centred_thumbnail_fills_its_canvas(tmp_path):
    wanted = boxes.Wanted((Box(100, 100, True),), Box(1280, 1280))
    rendition = made(pictures.write(tmp_path, "x", pictures.jpeg()), wanted=wanted)["cq5dam.thumbnail.100.100.png"]
    image = opened(rendition)
    assert image.size == (100, 100)
    assert image.getpixel((50, 2))[3] == 0
    assert image.getpixel((50, 50))[3] == 255


def test_nothing_private_travels_on_in_a_rendition(tmp_path):
    tags = Image.Exif()
    tags[0x010F] = "SECRETCAM"
    data = pictures.jpeg(exif=tags.tobytes(), xmp=pictures.xmp_packet("<dc:rights>SECRETNOTE</dc:rights>"))
    assert b"SECRETCAM" in data and b"SECRETNOTE" in data
    for rendition in made(pictures.write(tmp_path, "x", data)).values():
        assert b"SECRET" not in rendition.data


def test_type_without_a_maker_gets_no_renditions(tmp_path):
    assert made(pictures.write(tmp_path, "x", b"words"), media.TEXT) == {}


DAMAGED = {
    "cut jpeg": (pictures.jpeg(pictures.corner(1200, 900))[:-900], "image/jpeg"),
    "half jpeg": (pictures.jpeg(pictures.corner(1200, 900))[:3000], "image/jpeg"),
    "cut png": (pictures.saved(Image.effect_noise((300, 300), 90), "PNG")[:20_000], "image/png"),
    "png without pixels": (pictures.png_header(300, 300), "image/png"),
    "cut webp": (pictures.saved(Image.effect_noise((300, 300), 90), "WEBP")[:5_000], "image/webp"),
    "cut tiff": (pictures.saved(Image.effect_noise((300, 300), 90), "TIFF")[:20_000], "image/tiff"),
    "cut gif": (pictures.saved(Image.effect_noise((300, 300), 90), "GIF")[:20_000], "image/gif"),
    "cut heic": (pictures.heic(Image.effect_noise((300, 300), 90).convert("RGB"))[:8_000], "image/heic"),
    "cut heic header": (pictures.heic(pictures.corner())[:60], "image/heic"),
    "text": (b"words, not a picture", "image/jpeg"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_picture_is_refused_with_a_cause(tmp_path, kind):
    data, mime_type = DAMAGED[kind]
    with pytest.raises(media.PictureRefused, match="^cannot be read as a picture, it is damaged or cut off"):
        made(pictures.write(tmp_path, "x", data), mime_type)


def test_size_is_checked_before_any_pixel(tmp_path):
    path = pictures.write(tmp_path, "x", pictures.png_header(60_000, 60_000))
    with pytest.raises(
        media.PictureRefused, match="has 60,000 x 60,000 pixels, which is 3,600 million; .* up to 300 million"
    ):
        made(path)


def test_limit_on_pixels_is_a_setting(tmp_path, settings):
    settings.OFFLOADING_MAX_PIXELS = 1000
    for data in (pictures.jpeg(), pictures.heic(pictures.corner())):
        with pytest.raises(media.PictureRefused, match="has 400 x 300 pixels"):
            made(pictures.write(tmp_path, "x", data))


@pytest.mark.parametrize(
    "data",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        pictures.saved(pictures.corner(), "BMP"),
        pictures.saved(pictures.corner(), "JPEG2000"),
    ],
)
def test_decoders_that_are_not_trusted_stay_shut(tmp_path, data):
    with pytest.raises(media.PictureRefused):
        made(pictures.write(tmp_path, "x.jpg", data), "image/jpeg")
