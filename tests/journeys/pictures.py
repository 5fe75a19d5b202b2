"""Pictures for the journeys. Each shows, once upright, a red upper and a blue lower half."""

from pathlib import Path

from PIL import Image, ImageDraw

# How to turn the upright picture into what a camera stores for an EXIF orientation, so that a viewer turns it back.
STORED = {
    1: None,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def upright(width: int = 1600, height: int = 1000) -> Image.Image:
    picture = Image.new("RGB", (width, height), "blue")
    ImageDraw.Draw(picture).rectangle([0, 0, width, height // 2], fill="red")
    return picture


def make_photos(folder: Path) -> list[Path]:
    made = []
    for orientation, turn in STORED.items():
        picture = upright() if turn is None else upright().transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "Offloading"
        made.append(folder / f"orientation-{orientation}.jpg")
        picture.save(made[-1], quality=90, exif=exif)
    made.append(folder / "picture.png")
    upright(400, 250).save(made[-1])
    made.append(folder / "scan.tiff")
    upright(800, 500).convert("1").save(made[-1])
    return made


def is_upright(path_or_file: object) -> bool:
    picture = Image.open(path_or_file).convert("RGB")
    middle = picture.width // 2
    above, below = picture.getpixel((middle, picture.height // 6)), picture.getpixel((middle, picture.height * 5 // 6))
    return above[0] > 200 and above[2] < 60 and below[2] > 200 and below[0] < 60
