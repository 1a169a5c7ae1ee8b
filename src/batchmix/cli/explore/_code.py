"""The Python code and the command line that make exactly what the page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import batchmix as bm
from batchmix.cli._mixing import PAIRINGS
from batchmix.cli.explore._view import View
from batchmix.cli.preview import command
from batchmix.cli.show.shown import LAYOUTS, Batch, Source


def command_of(view: View, source: Source) -> str:
    """`batchmix preview` with the options of a view."""
    options = {"policies": view.entry.name, "rows": view.rows, "first": view.first}
    options |= vars(view.mixing)
    if source.form == "wave":
        options["seconds"] = source.data.seconds
    else:
        options["image-size"] = source.image_size
    return command(source.data.name, options)


def code_of(view: View, batch: Batch) -> str:
    """A program that ends with `x`, `y`, `plan`, `mixed` and `targets`."""
    source = batch.source
    policy, pairing = repr(view.mixing.policy(view.entry.policy)), repr(PAIRINGS[view.pairing])
    size = ", ".join(f'"{axis}": {n}' for axis, n in batch.size.items())
    step = f", step={view.step}" if view.step else ""
    numbers = source.choose(view.rows, view.first).tolist()
    imports, load = _digits(numbers) if source.data.name == "digits" else _files(source, numbers)
    return f"""# batchmix {bm.__version__}
{imports}

import batchmix as bm
from batchmix.pairing import {_classes(pairing)}
from batchmix.policies import {_classes(policy)}

{load}
policy = {policy}
key = bm.Key(seed={view.seed}{step})
plan = bm.draw(policy, key, len(x), {{{size}}}, pairing={pairing})
mixed = bm.mix(x, plan, "{LAYOUTS[source.form]}")
targets = bm.mix_labels(y, plan, classes={len(source.classes)})
"""


def _classes(code: str) -> str:
    """The names of the classes that are called in `code`."""
    return ", ".join(sorted(set(re.findall(r"\w+(?=\()", code))))


def _digits(numbers: Sequence[int]) -> tuple[str, str]:
    """Imports, and the lines that load some of scikit-learn's digits."""
    return (
        "import numpy as np\nfrom sklearn.datasets import load_digits",
        f"""digits = load_digits()
{_list("rows", numbers)}
x = np.round(digits.images[rows] * (255 / 16)).astype(np.uint8)[..., None]
y = digits.target[rows]
""",
    )


def _files(source: Source, numbers: Sequence[int]) -> tuple[str, str]:
    """Imports, and the lines that read some files of a folder."""
    data, side = source.data, source.image_size
    imports = "from pathlib import Path\n\nimport numpy as np\n"
    head = f"""folder = Path({_text(str(data.root))})
{_list("files", [data.train.names[i] for i in numbers])}
{_list("classes", source.classes)}
"""
    if source.form == "image":
        size = f".resize(({side}, {side}))" if side else ""
        imports += "from PIL import Image, ImageOps"
        body = f"""images = [ImageOps.exif_transpose(Image.open(folder / file)) for file in files]
x = np.stack([np.asarray(image.convert("RGB"){size}) for image in images])
"""
    else:
        imports += "from scipy.io import wavfile"
        body = "clips = [wavfile.read(folder / file)[1] for file in files]\n"
        body += "clips = [clip.reshape(len(clip), -1) for clip in clips]  # [T, channels]\n"
        body += f"""cells = {round((data.seconds or 0) * data.rate)}
clips = [np.pad(clip[:cells], ((0, max(0, cells - len(clip))), (0, 0))) for clip in clips]
"""
        body += "x = np.stack(clips)\n"
    ids = 'y = np.array([classes.index(file.split("/")[-2]) for file in files])\n'
    return imports, head + body + ids


def _text(value: object) -> str:
    """A string in double quotes where that needs no escape; anything else as Python writes it."""
    simple = isinstance(value, str) and repr(value) == f"'{value}'" and '"' not in value
    return f'"{value}"' if simple else repr(value)


def _list(name: str, values: Sequence[object]) -> str:
    """An assignment of a list, wrapped between its items."""
    items = [_text(value) for value in values]
    line = f"{name} = [{', '.join(items)}]"
    if len(line) <= 88:
        return line
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > 82:
            lines.append("")
        lines[-1] += f"{item}, "
    return f"{name} = [\n" + "".join(f"    {line.rstrip()}\n" for line in lines) + "]"
