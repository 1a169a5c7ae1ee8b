"""Which classes of a library mix, and which of them the page of methods leaves out."""

import importlib
import inspect
import re
import warnings

from pages import DOCS

# where a library keeps them
LIBRARIES = {
    "torchvision": "torchvision.transforms.v2",
    "timm": "timm.data",
    "kornia": "kornia.augmentation",
    "Keras": "keras.layers",
    "MONAI": "monai.transforms",
    "Ultralytics": "ultralytics.data.augment",
    "fastai": "fastai.callback.mixup",
}
MIXES = re.compile("mix|mosaic|jigsaw|paste|transplant|cutout|ricap", re.IGNORECASE)


def mixing(library):
    """Names of its classes that mix, by what they are called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what fastai calls at its import
        module = importlib.import_module(LIBRARIES[library])
    found = (one for one in vars(module).values() if inspect.isclass(one))
    root = LIBRARIES[library].partition(".")[0]
    return {
        one.__name__
        for one in found
        if MIXES.search(one.__name__) and one.__module__.partition(".")[0] == root
    }


def rows(library):
    """What the page names of it, in the first column from its own name on."""
    page = (DOCS / "methods.md").read_text().partition("## Libraries")[2]
    part = page.partition(f"| **{library}** ")[2]
    part = re.split(r"^\| \*\*", part, maxsplit=1, flags=re.MULTILINE)[0]
    first = [line.removeprefix("| ").partition(" |")[0] for line in part.splitlines()]
    return {name for cell in first for name in re.findall("`(.+?)`", cell)}


def check(library):
    """All are named; and nothing is that is not there."""
    named, found = rows(library), mixing(library)
    assert found, f"{library} has no class that mixes: where did they go?"
    assert named == found, f"docs/methods.md, {library}: {sorted(named ^ found)}"
