"""The Python code and the command line that make exactly what the page shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.cli._mixing import PAIRINGS
from batchmix.cli.explore._own import own_rows
from batchmix.cli.explore._policies import HINTS, PARTNERS, POLICIES
from batchmix.cli.explore._scene import Scene, policy_of
from batchmix.cli.explore._view import View
from batchmix.cli.preview import command
from batchmix.cli.show.shown import LAYOUTS, Source

_PHOTOS = "cli/lab/data/photos"


def command_of(view: View, source: Source) -> str:
    """`batchmix preview` with the options of a view; "" where it has no words for it."""
    words = [word for word in (view.policy, view.versus) if word]
    known = all(POLICIES[word].word for word in words) and view.pairing in PAIRINGS
    if not known or own_rows(source.data):
        return ""
    names = [
        _word(word, view.numbers(second), view.smooth) for second, word in zip(view.sides, words)
    ]
    options = {"policies": " ".join(names), "rows": view.rows, "first": view.first}
    options |= {"prob": view.prob, "per": view.per, "pairing": view.pairing}
    options |= {"seed": view.seed, "step": view.step}
    if source.form == "wave":
        options["seconds"] = source.data.seconds
    else:
        options["image-size"] = source.image_size
    return command(source.data.name, options)


def _word(policy: str, numbers: tuple[float, ...], smooth: float) -> str:
    """A policy as the command line writes it."""
    if policy == "none":
        return f"smooth:{smooth:g}" if smooth else "none"
    options = [f"{n:g}" for n in numbers] + ([f"smooth={smooth:g}"] if smooth else [])
    return f"{policy}:{','.join(options)}" if options else policy


def code_of(view: View, scene: Scene) -> str:
    """A program that ends with `x`, `y`, `plan`, `mixed` and `targets`.

    Where two policies are compared, `other_plan`, `other_mixed` and `other_targets` follow.
    """
    policies = [policy_of(scene, view, second) for second in view.sides]
    pairing = PARTNERS[view.pairing]
    hints = scene.hints(*policies, pairing)
    imports, load = _loading(scene)
    written_ones = [written(policy) for policy in policies]
    lines = "".join(f"from batchmix.{module} import {names}\n" for module, names in (
        ("pairing", _classes(written(pairing))), ("policies", _classes(" ".join(written_ones)))
    ) if names)  # fmt: skip
    return (
        f"# batchmix {bm.__version__}\n{imports}"
        + "".join(HINTS[name].imports for name in hints)
        + f"\nimport batchmix as bm\n{lines}\n{load}"
        + "".join(HINTS[name].code for name in hints)
        + f"key = bm.Key(seed={view.seed}{f', step={view.step}' if view.step else ''})\n"
        + "".join(
            _drawn(view, scene, policy, list(hints), prefix)
            for prefix, policy in zip(("", "other_"), written_ones)
        )
    )


def _drawn(view: View, scene: Scene, policy: str, hints: Sequence[str], prefix: str) -> str:
    """The lines of one policy."""
    size = ", ".join(f'"{axis}": {n}' for axis, n in scene.size.items())
    given = {"image": "x", "label": "y"}
    told = ", ".join(f'"{name}": {given.get(name, name)}' for name in hints)
    told = f", hints={{{told}}}" if hints else ""
    smooth = f", smoothing={view.smooth:g}" if view.smooth else ""
    first = f"{prefix}policy, key, len(x), {{{size}}}"
    then = f"pairing={written(PARTNERS[view.pairing])}{told}"
    call = f"{prefix}plan = bm.draw({first}, {then})"
    if len(call) > 100:
        call = f"{prefix}plan = bm.draw(\n    {first},\n    {then},\n)"
    return f"""
{prefix}policy = {policy}
{call}
{prefix}mixed = bm.mix(x, {prefix}plan, "{LAYOUTS[scene.source.form]}")
{prefix}targets = bm.mix_labels(y, {prefix}plan, classes={len(scene.source.classes)}{smooth})
"""


def written(value: Any) -> str:
    """A policy or a pairing as a call, without what is at its default."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if not is_dataclass(value):
        return repr(value)
    names, told = [], False
    for field in fields(value):
        one, usual = getattr(value, field.name), field.default
        same = usual is not MISSING and one == usual and type(one) is type(usual)
        if same and field.name != "alpha":  # which everybody wants to see
            told = True  # what comes after it is named
            continue
        names.append(f"{field.name}={written(one)}" if told else written(one))
    return f"{type(value).__name__}({', '.join(names)})"


def _classes(code: str) -> str:
    """The names of the classes that are called in `code`."""
    return ", ".join(sorted(set(re.findall(r"\w+(?=\()", code))))


def _loading(scene: Scene) -> tuple[str, str]:
    """Imports, and the lines that give `x` and `y`."""
    data = scene.source.data
    if data.name == "digits":
        return _digits(scene.numbers.tolist())
    if not own_rows(data) and scene.once(lambda: _simple(scene), "simple"):
        return _files(scene.source, scene.numbers.tolist())
    return (
        "import numpy as np\n",
        'rows = np.load("batchmix-rows.npz")  # "Rows (npz)" on the page\n'
        'x, y = rows["x"], rows["y"]\n',
    )


def _simple(scene: Scene) -> bool:
    """Whether the few lines of `_files` read these rows: no transparency, 16 bits of image, ..."""
    data, form = scene.source.data, scene.source.form
    for number, own, row in zip(scene.numbers.tolist(), scene.y.tolist(), scene.x):
        file = data.train.names[number]
        folder = Path(file).parent.name
        if folder and folder != scene.source.classes[own]:
            return False  # its name cannot be shown as it is
        try:
            read = (_picture if form == "image" else _clip)(Path(data.root, file), row)
        except Exception:  # whatever a library makes of a file that it does not know
            return False
        if read.dtype != row.dtype or not np.array_equal(read, row):
            return False
    return True


def _picture(file: Path, row: NDArray[Any]) -> NDArray[Any]:
    """As the code reads it."""
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(
        upright if upright.size == row.shape[1::-1] else upright.resize(row.shape[1::-1])
    )


def _clip(file: Path, row: NDArray[Any]) -> NDArray[Any]:
    """As the code reads it."""
    from scipy.io import wavfile

    clip = wavfile.read(file)[1]
    clip = clip.reshape(len(clip), -1)[: len(row)]
    return np.pad(clip, ((0, len(row) - len(clip)), (0, 0)))


def _digits(numbers: Sequence[int]) -> tuple[str, str]:
    """Imports, and the lines that load some of scikit-learn's digits."""
    return (
        "import numpy as np\nfrom sklearn.datasets import load_digits\n",
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
    folder = f"Path({_text(str(data.root))})"
    if data.name == "photos" and data.root == str(Path(bm.__file__).parent / _PHOTOS):
        folder = f'Path(bm.__file__).parent / "{_PHOTOS}"'  # whichever machine it is
    head = f"""folder = {folder}
{_list("files", [data.train.names[i] for i in numbers])}
{_list("classes", source.classes)}
"""
    if source.form == "image":
        size = f".resize(({side}, {side}))" if side else ""
        imports += "from PIL import Image, ImageOps\n"
        body = f"""images = [ImageOps.exif_transpose(Image.open(folder / file)) for file in files]
x = np.stack([np.asarray(image.convert("RGB"){size}) for image in images])
"""
    else:
        imports += "from scipy.io import wavfile\n"
        body = "clips = [wavfile.read(folder / file)[1] for file in files]\n"
        body += "clips = [clip.reshape(len(clip), -1) for clip in clips]  # [T, channels]\n"
        body += f"""cells = {round((data.seconds or 0) * data.rate)}
clips = [np.pad(clip[:cells], ((0, max(0, cells - len(clip))), (0, 0))) for clip in clips]
"""
        body += "x = np.stack(clips)\n"
    ids = 'y = np.array([classes.index(file.split("/")[-2]) for file in files])\n'
    if not any("/" in name for name in data.train.names):
        ids = "y = np.zeros(len(files), int)  # there are no folders of classes\n"
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
