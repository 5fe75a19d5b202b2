"""Real pictures of real cameras, if a folder of them is at hand: OFFLOADING_SAMPLES names it."""

import os
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from dam import media
from dam.renditions import boxes, makers

FOLDER = os.environ.get("OFFLOADING_SAMPLES", "")
SAMPLES = sorted(path for path in Path(FOLDER).iterdir() if media.by_name(path.name) in media.RASTER) if FOLDER else []
WANTED = boxes.Wanted(boxes.parse_configs("[140:100:false,48:48:false,319:319:false]"), boxes.Box(1280, 1280))


@pytest.mark.skipif(
    not SAMPLES, reason="OFFLOADING_SAMPLES is not set, or its folder holds no pictures: 0 samples tried"
)
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_sample_is_rendered_and_described(library, path):
    asset = library.upload(path.name, path.read_bytes())
    library.work()
    assert library.state(asset) == "processed", library.failure(asset)
    assert len(library.renditions(asset)) == 5
    assert library.metadata(asset)["tiff:ImageWidth"] > 0


LANDSCAPES = [path for path in SAMPLES if "landscape" in path.name]


def thumbnail_of(path):
    made = {each.name: each for each in makers.make(path, "image/jpeg", WANTED)}
    return Image.open(BytesIO(made["cq5dam.thumbnail.48.48.png"].data)).convert("RGB")


@pytest.mark.skipif(len(LANDSCAPES) < 2, reason="no samples of one picture in several orientations")
def test_orientations_of_one_picture_look_the_same():
    first, *others = map(thumbnail_of, LANDSCAPES)
    for other in others:
        assert other.size == first.size == (48, 32)
        difference = ImageStat.Stat(ImageChops.difference(first, other)).mean
        assert max(difference) < 6
