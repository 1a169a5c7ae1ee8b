"""Makes the photographs of batchmix/cli/lab/data/photos: python docs/make_photos.py

Needs scikit-image and scikit-learn installed: they are cut from their sample images, and CREDITS.md
says whose these are. Four squares of each, all shown at one size.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parents[1] / "src" / "batchmix" / "cli" / "lab" / "data" / "photos"
SIDE, QUALITY = 192, 82
SQUARES = {  # left, top, side of each, in pixels of the photograph
    "astronaut": (
        "skimage/data/astronaut.png",
        [(55, 0, 330), (95, 5, 260), (0, 60, 400), (130, 0, 382)],
    ),
    "cat": (
        "skimage/data/chelsea.png",
        [(75, 0, 300), (120, 20, 260), (30, 0, 300), (100, 60, 240)],
    ),
    "coffee": (
        "skimage/data/coffee.png",
        [(110, 0, 400), (170, 10, 300), (60, 0, 400), (200, 0, 340)],
    ),
    "flower": (
        "sklearn/datasets/images/flower.jpg",
        [(120, 10, 400), (160, 60, 310), (60, 0, 427), (210, 60, 350)],
    ),
    "galaxies": (
        "skimage/data/hubble_deep_field.jpg",
        [(560, 300, 360), (60, 180, 360), (340, 480, 380), (400, 20, 420)],
    ),
    "retina": (
        "skimage/data/retina.jpg",
        [(0, 0, 1411), (0, 330, 800), (380, 300, 900), (100, 60, 1000)],
    ),
    "rocket": (
        "skimage/data/rocket.jpg",
        [(106, 0, 427), (190, 90, 330), (213, 0, 427), (150, 60, 360)],
    ),
    "temple": (
        "sklearn/datasets/images/china.jpg",
        [(10, 0, 400), (70, 20, 300), (0, 60, 360), (90, 0, 427)],
    ),
}


def photograph(path: str) -> Image.Image:
    """A file of a package, which need not be importable."""
    package, _, rest = path.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install scikit-image scikit-learn")
    return Image.open(Path(spec.submodule_search_locations[0], rest)).convert("RGB")


if __name__ == "__main__":
    for name, (path, squares) in SQUARES.items():
        whole = photograph(path)
        (HERE / name).mkdir(parents=True, exist_ok=True)
        for k, (left, top, side) in enumerate(squares):
            square = whole.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
            square.save(HERE / name / f"{name}-{k}.jpg", quality=QUALITY, optimize=True)
            print(HERE / name / f"{name}-{k}.jpg")
