"""Four renditions of a folder of pictures: our one load, four loads with libvips, and Pillow, side by side in one run.

    python -m tests.benchmarks.renditions FOLDER [ROUNDS]

Each way runs in a process of its own, one after the other, every round in another order; the table shows medians.
Without a folder, twelve pictures of 12 megapixels are made first.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("OFFLOADING_HOME", tempfile.mkdtemp(prefix="renditions-"))

BOXES = ((140, 100), (48, 48), (319, 319))
WEB = (1280, 1280)


def one_load(path: Path, mime_type: str) -> None:
    from dam.renditions import boxes, makers

    wanted = boxes.Wanted(tuple(boxes.Box(*box) for box in BOXES), boxes.Box(*WEB))
    assert len(list(makers.make(path, mime_type, wanted))) == len(BOXES) + 1


def four_loads(path: Path, mime_type: str) -> None:
    from dam import vips
    from dam.renditions import canvas

    for width, height in (*BOXES, WEB):
        picture = canvas.to_srgb(vips.Image.thumbnail(str(path), width, height=height, size="down", fail_on="error"))
        if (width, height) == WEB:
            picture.jpegsave_buffer(Q=90, keep="none")
        else:
            picture.pngsave_buffer(compression=6, filter="sub", keep="none")


def pillow(path: Path, mime_type: str) -> None:
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        image.draft("RGB", WEB)
        web = ImageOps.exif_transpose(image).convert("RGB")
    web.thumbnail(WEB, Image.Resampling.LANCZOS)
    web.save(BytesIO(), "JPEG", quality=90)
    for box in BOXES:
        small = web.copy()
        small.thumbnail(box, Image.Resampling.LANCZOS)
        small.save(BytesIO(), "PNG")


WAYS = {"one load": one_load, "four loads": four_loads, "Pillow, one load": pillow}


def measure(way: str, folder: str) -> None:
    """Run one way over the folder; print wall seconds, CPU seconds and peak MiB."""
    django.setup()
    from dam import media

    files = [path for path in sorted(Path(folder).iterdir()) if media.by_name(path.name) in media.RASTER]
    files = [path for path in files if media.by_name(path.name) != "image/heic"]  # Pillow alone cannot read it
    WAYS[way](files[0], media.by_name(files[0].name))  # what is loaded once is not what is measured
    began, cpu = time.perf_counter(), time.process_time()
    for path in files:
        WAYS[way](path, media.by_name(path.name))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(time.perf_counter() - began, time.process_time() - cpu, peak, len(files))


def make_pictures(folder: Path) -> None:
    from PIL import Image

    for number in range(12):
        noise = Image.effect_noise((1000, 750), 40 + number).resize((4000, 3000), Image.Resampling.BICUBIC)
        noise.convert("RGB").save(folder / f"{number}.jpg", quality=90)


def main(folder: str, rounds: int) -> None:
    found: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        ways = list(WAYS)
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            command = [sys.executable, "-m", __spec__.name, "--measure", way, folder]
            line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            found[way].append(tuple(map(float, line)))
    base = statistics.median(row[0] for row in found["one load"])
    print(f"{'way':18} {'wall s':>8} {'ratio':>6} {'CPU s':>8} {'peak MiB':>9} {'pictures/s':>11}")
    for way, rows in found.items():
        wall, cpu, peak, count = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{way:18} {wall:8.2f} {wall / base:6.2f} {cpu:8.2f} {peak:9.0f} {count / wall:11.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3])
    else:
        with tempfile.TemporaryDirectory() as made:
            given = sys.argv[1] if len(sys.argv) > 1 else made
            if given == made:
                make_pictures(Path(made))
            main(given, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
