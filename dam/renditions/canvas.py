"""From one picture in memory to all its renditions: colour, fitting, encoding. Who loaded it is the maker's matter."""

from collections.abc import Iterator

from dam import vips
from dam.renditions.boxes import Box, Rendition, Wanted

_PNG_COMPRESSION = 6


def to_srgb(image: vips.Image) -> vips.Image:
    """Return the picture in 8 bit sRGB. Costs nothing worth a mention after the shrink; before it, it would cost most.

    An embedded profile is followed; one that is broken or of another colour model is treated as absent, which is
    what every browser does with it.
    """
    if image.get_typeof("icc-profile-data") and image.interpretation not in ("b-w", "grey16"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="perceptual", depth=8).copy_memory()
        except vips.Error:
            image = image.copy()
            image.remove("icc-profile-data")
    if image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def renditions(picture: vips.Image, mime_type: str, wanted: Wanted) -> Iterator[Rendition]:
    """Make every wanted rendition of `picture`, which is upright, sRGB, in memory and no smaller than it must be."""
    for box in wanted.thumbnails:
        yield _png(_fit(picture, box), box.thumbnail_name)
    web = _fit(picture, wanted.web)
    if mime_type in wanted.kept_formats or web.hasalpha():
        yield _png(web, wanted.web.web_name("png"))
    else:
        # Progressive or with optimised tables it would be 6 % smaller and take six times as long to write.
        data = web.jpegsave_buffer(Q=wanted.quality, keep="none")
        yield Rendition(wanted.web.web_name("jpeg"), "image/jpeg", web.width, web.height, data)


def _fit(picture: vips.Image, box: Box) -> vips.Image:
    if picture.width > box.width or picture.height > box.height:
        picture = picture.thumbnail_image(box.width, height=box.height, size="down", no_rotate=True)
    if not box.is_centered:
        return picture
    if not picture.hasalpha():
        picture = picture.addalpha()
    return picture.gravity("centre", box.width, box.height, extend="background", background=[0, 0, 0, 0])


def _png(image: vips.Image, name: str) -> Rendition:
    data = image.pngsave_buffer(compression=_PNG_COMPRESSION, filter="sub", keep="none")
    return Rendition(name, "image/png", image.width, image.height, data)
