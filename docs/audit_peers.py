"""Audits every mixing library that is installed, and writes what was found into audit.json.

    python docs/audit_peers.py          run, merge into audit.json, write the table of audit.md
    python docs/audit_peers.py Keras    only those with this in their names
    python docs/audit_peers.py --page   only the table

No environment holds all of them: run it in each. An entry is replaced by one of the same name.
For Keras choose the backend with KERAS_BACKEND.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import batchmix as bm
from batchmix import MixError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from audit_ffcv import COMMIT, FfcvMixup  # noqa: E402, F401  (FfcvMixup is named by a Peer)

BEGIN, END = "<!-- what audit_peers.py writes -->\n", "<!-- until here -->\n"
FORMULAS = {"ffcv": COMMIT}  # not installed: written down here, from that commit
MAKERS = {
    "torch": ("torch", "tensor"),
    "tensorflow": ("tensorflow", "convert_to_tensor"),
    "jax": ("jax.numpy", "asarray"),
}


class Peer(NamedTuple):
    """One callable: its distribution, where it is, how it is made, and how it is called."""

    name: str
    distribution: str
    target: str
    args: dict[str, Any]
    options: dict[str, Any]
    framework: str | None = "torch"


class Fastai:
    """A callback of fastai's Learner: its own `before_batch`, on a stand-in for the learner."""

    def __init__(self, name: str, alpha: float) -> None:
        self.callback = getattr(importlib.import_module("fastai.callback.mixup"), name)(alpha)

    def __call__(self, x: Any, y: Any) -> tuple[Any, ...]:
        """Images, the partners' labels, and lam."""
        callback = self.callback
        callback.learn = SimpleNamespace(x=x, y=y, xb=(x,), yb=(y,))
        callback.stack_y = True
        callback.before_batch()
        return callback.learn.xb[0], callback.yb1[0], callback.lam


class OurFastai:
    """This library's callback for fastai, on a stand-in for the learner that counts batches."""

    def __init__(self, policy: Any) -> None:
        module = importlib.import_module("batchmix.adapters.fastai")
        self.callback, self.count = module.MixCallback(policy), 0

    def __call__(self, x: Any, y: Any) -> tuple[Any, ...]:
        """Images, and both labels with the weight that the loss gives them."""
        callback = self.callback
        callback.learn = SimpleNamespace(xb=(x,), yb=(y,), iter=self.count, epoch=0)
        self.count += 1
        callback.before_batch()
        return callback.learn.xb[0], bm.pairs(y, callback.plan)


class KerasMasks:
    """A layer of Keras with masks [B, H, W], which Keras has as [B, H, W, 1]."""

    def __init__(self, name: str, **options: Any) -> None:
        self.layer = getattr(importlib.import_module("keras.layers"), name)(**options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The layer's answer; its masks without the last axis if that has one entry."""
        mixed = self.layer(batch | {"segmentation_masks": batch["segmentation_masks"][..., None]})
        masks = mixed["segmentation_masks"]
        return mixed | {"segmentation_masks": masks[..., 0] if masks.shape[-1] == 1 else masks}


class MonaiDict:
    """A transform of MONAI's for batches with masks [B, H, W], which MONAI has as [B, 1, H, W]."""

    def __init__(self, name: str, **options: Any) -> None:
        self.transform = getattr(importlib.import_module("monai.transforms"), name)(**options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The transform's answer, its masks without the axis of channels."""
        mixed = self.transform(batch | {"mask": batch["mask"][:, None]})
        return mixed | {"mask": mixed["mask"][:, 0]}


class Albumentations:
    """MixUp of albumentations 1.4, called for each image; its references are the whole batch."""

    def __init__(self, alpha: float) -> None:
        self.alpha, self.package = alpha, importlib.import_module("albumentations")

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """Each row mixed with one of the others, drawn by the transform."""
        rows = [{"image": x, "global_label": y} for x, y in zip(images, labels)]
        options = {"read_fn": lambda row: row, "mix_coef_return_name": "lam", "p": 1.0}
        found = []
        for row in rows:
            mix = self.package.MixUp(rows, alpha=self.alpha, **options)
            found.append(self.package.Compose([mix])(**row))
        return [np.stack([row[name] for row in found]) for name in ("image", "global_label")]


class Datarax:
    """A stage of Datarax, called as its Pipeline calls it: with the positions of the records."""

    def __init__(self, package: str, **options: Any) -> None:
        nnx = importlib.import_module("flax.nnx")
        of = importlib.import_module(package)
        config = importlib.import_module("datarax.core.config") if "datarax." in package else of
        config = of if package.startswith("batchmix") else config
        rngs = nnx.Rngs(batch_mix=0)
        self.stage = of.BatchMixOperator(config.BatchMixOperatorConfig(**options), rngs=rngs)
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """A new pass begins at position 0."""
        self.position = 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step of a pipeline."""
        jnp = importlib.import_module("jax.numpy")
        rows = len(batch["image"])
        indices = self.position + jnp.arange(rows)
        self.position += rows
        data, _ = self.stage._apply_on_raw(batch, {}, None, indices)
        return dict(data)


def ours(policy: Any, layout: str = "NCHW") -> bm.Mixer:
    """batchmix's own mixer, on a dict with images or videos, a mask and an id."""
    fields = bm.fields
    named = {
        "image": fields.Grid(layout), "label": fields.Labels(10),
        "mask": fields.Ids(layout.replace("C", "")),
    }  # fmt: skip
    return bm.Mixer(policy, named)


BOTH = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "num_classes": 10}
IDS = {"image": "image", "label": "label", "mask": "mask", "id": "id"}
PLAIN = {"image": "image", "label": "label", "id": "id"}


def torch_peers() -> Iterator[Peer]:
    """Libraries for PyTorch."""
    for mode in ("batch", "pair", "elem"):
        yield Peer(f"timm Mixup, {mode}", "timm", "timm.data:Mixup", BOTH | {"mode": mode}, {})
    for mode in ("batch", "pair", "elem"):
        yield Peer(
            f"timm FastCollateMixup, {mode}", "timm", "timm.data:FastCollateMixup",
            BOTH | {"mode": mode}, {"call": "rows"}, None,
        )  # fmt: skip
    for name in ("MixUp", "CutMix"):
        yield Peer(
            f"torchvision {name}", "torchvision", f"torchvision.transforms.v2:{name}",
            {"num_classes": 10}, {},
        )  # fmt: skip
    columns = {"data_keys": ["input", "class"]}
    for name, args, weight in (
        ("RandomMixUpV2", {}, "partner"),
        ("RandomCutMixV2", {"use_correct_lambda": True}, "own"),
    ):
        yield Peer(
            f"kornia {name}", "kornia", f"kornia.augmentation:{name}", columns | args,
            {"weight": weight},
        )  # fmt: skip
    for name, weight in (("mixup_batch", "partner"), ("cutmix_batch", "own")):
        yield Peer(
            f"Composer {name}", "mosaicml", f"composer.functional:{name}", {}, {"weight": weight}
        )
    for name in ("MixUp", "CutMix"):
        yield Peer(f"fastai {name}", "fastai", ":Fastai", {"name": name, "alpha": 1.0}, {})
    yield from monai_peers()


def monai_peers() -> Iterator[Peer]:
    """MONAI's transforms of batches; CutMixd twice, with class labels and with a segmentation."""
    for name in ("MixUp", "CutMix"):
        yield Peer(
            f"MONAI {name}", "monai", f"monai.transforms:{name}", {"batch_size": 8},
            {"labels": "onehot"},
        )  # fmt: skip
    args = {
        "name": "CutMixd",
        "keys": ["image", "mask"],
        "batch_size": 8,
        "label_keys": ["label"] * 2,
    }
    keys = {"image": "image", "label": "label", "mask": "mask"}
    how = {"call": "dict", "keys": keys, "labels": "onehot"}
    yield Peer("MONAI CutMixd with masks", "monai", ":MonaiDict", args, how)


def other_peers() -> Iterator[Peer]:
    """Keras on the backend of this process, and Datarax."""
    backend = os.environ.get("KERAS_BACKEND", "torch")
    keys = {"image": "images", "label": "labels"}
    how = {"call": "dict", "labels": "onehot", "layout": "NHWC"}
    for name in ("MixUp", "CutMix"):
        args = {"data_format": "channels_last", "seed": 0}
        yield Peer(
            f"Keras {name}, {backend}", "keras", f"keras.layers:{name}", args,
            how | {"keys": keys}, backend,
        )  # fmt: skip
        yield Peer(
            f"Keras {name} with masks, {backend}", "keras", ":KerasMasks", args | {"name": name},
            how | {"keys": keys | {"mask": "segmentation_masks"}}, backend,
        )  # fmt: skip
    for mode in ("mixup", "cutmix"):
        yield Peer(
            f"Datarax BatchMixOperator, {mode}", "datarax", ":Datarax",
            {"package": "datarax.operators.batch_mix_operator", "mode": mode},
            how | {"keys": PLAIN}, "jax",
        )  # fmt: skip


def numpy_peers() -> Iterator[Peer]:
    """Libraries that mix arrays: the last albumentations with a MixUp, and FFCV's formula."""
    yield Peer(
        "albumentations MixUp", "albumentations", ":Albumentations", {"alpha": 1.0},
        {"labels": "onehot", "layout": "NHWC"}, None,
    )  # fmt: skip
    for same in (True, False):
        yield Peer(
            f"FFCV's formula, {'one lam' if same else 'a lam per row'}", "ffcv", ":FfcvMixup",
            {"alpha": 1.0, "same_lambda": same, "classes": 10}, {}, None,
        )  # fmt: skip


def our_peers() -> Iterator[Peer]:
    """This library: its mixer, and those of its adapters that stand in for another library."""
    both = bm.policies.Switch([bm.policies.MixUp(0.8), bm.policies.CutMix(1.0)])
    for framework in (None, "torch", "jax", "tensorflow"):
        name = framework or "numpy"
        yield Peer(
            f"batchmix Mixer, {name}", "batchmix", ":ours", {"policy": both},
            {"call": "dict", "keys": IDS}, framework,
        )  # fmt: skip
        yield Peer(
            f"batchmix Mixer of videos, {name}", "batchmix", ":ours",
            {"policy": both, "layout": "NCTHW"},
            {"call": "dict", "keys": IDS, "layout": "NCTHW"}, framework,
        )  # fmt: skip
    for mode in ("batch", "pair", "elem"):
        yield Peer(
            f"batchmix for timm Mixup, {mode}", "batchmix", "batchmix.adapters.timm:Mixup",
            BOTH | {"mode": mode}, {},
        )  # fmt: skip
    yield Peer(
        "batchmix for timm FastCollateMixup, elem", "batchmix",
        "batchmix.adapters.timm:FastCollateMixup", BOTH | {"mode": "elem"}, {"call": "rows"}, None,
    )  # fmt: skip
    for name in ("MixUp", "CutMix"):
        yield Peer(
            f"batchmix for torchvision {name}", "batchmix",
            f"batchmix.adapters.torchvision:{name}", {"num_classes": 10}, {},
        )  # fmt: skip
    for name, weight in (("mixup_batch", "partner"), ("cutmix_batch", "own")):
        yield Peer(
            f"batchmix for Composer {name}", "batchmix",
            f"batchmix.adapters.composer_functional:{name}", {}, {"weight": weight},
        )  # fmt: skip
    yield Peer("batchmix for fastai", "batchmix", ":OurFastai", {"policy": both}, {})
    backend = os.environ.get("KERAS_BACKEND", "torch")
    yield Peer(
        f"batchmix for Keras, {backend}", "batchmix", "batchmix.adapters.keras:MixLayer",
        {"given": both, "classes": 10, "data_format": "channels_last"},
        {"call": "pair", "layout": "NHWC"}, backend,
    )  # fmt: skip
    for mode in ("mixup", "cutmix"):
        yield Peer(
            f"batchmix for Datarax, {mode}", "batchmix", ":Datarax",
            {"package": "batchmix.adapters.datarax", "mode": mode, "classes": 10},
            {"call": "dict", "layout": "NHWC", "keys": PLAIN}, "jax",
        )  # fmt: skip


def made(peer: Peer) -> tuple[Callable[..., Any], Callable[[Any], Any] | None]:
    """What is called, and what makes its arrays; an ImportError where it is not installed."""
    module, _, name = peer.target.partition(":")
    found = getattr(importlib.import_module(module), name) if module else globals()[name]
    makes = isinstance(found, type) or found is ours or name in ("MixUp", "CutMix")
    fn = found(**peer.args) if makes else functools.partial(found, **peer.args)
    if peer.framework is None:
        return fn, None
    package, maker = MAKERS[peer.framework]
    return fn, getattr(importlib.import_module(package), maker)


def entry(peer: Peer) -> dict[str, Any] | None:
    """What an audit found; None where the library is not installed here."""
    try:
        version = FORMULAS.get(peer.distribution) or importlib.metadata.version(peer.distribution)
        fn, array = made(peer)
    except (ImportError, RuntimeError) as problem:
        print(f"{peer.name}: not here ({problem})")
        return None
    told = {"name": peer.name, "distribution": peer.distribution, "version": version}
    told |= {"python": platform.python_version(), "numpy": np.__version__}
    told |= {"target": peer.target.lstrip(":"), "options": peer.options}
    told["args"] = {
        name: value if _is_json(value) else repr(value) for name, value in peer.args.items()
    }
    try:
        audit = bm.audit(fn, array=array, **peer.options)
    except MixError as problem:
        print(f"{peer.name}: could not run ({problem})")
        return told | {"could_not_run": str(problem).splitlines()[0], "findings": []}
    print(f"{peer.name}\n{audit}\n")
    findings = [
        {"check": f.name, "verdict": f.verdict}
        | ({} if f.verdict == "ok" else {"where": f.where})
        | ({"number": float(f"{f.number:.3g}")} if math.isfinite(f.number) else {})
        for f in audit
    ]
    return told | {"findings": findings}


def _is_json(value: Any) -> bool:
    """Whether a value can be stored as it is."""
    return isinstance(value, str | int | float | bool | list | None)


def table(entries: list[dict[str, Any]]) -> str:
    """The entries as a Markdown table: what was found, and what raised."""
    lines = ["| Library | Version | Found | Raises |", "|---|---|---|---|"]
    for told in entries:
        labels, others, raised = [], [], []
        for finding in told["findings"]:
            name = finding["check"].removeprefix("label error, ")
            number = f" {finding['number']:.2g}" if "number" in finding else ""
            if finding["verdict"] == "found":
                (labels if finding["check"] != name else others).append(name + number)
            elif finding["verdict"] == "could not run":
                raised.append(name)
        found = [f"label error ({', '.join(labels)})"] if labels else []
        cells = "; ".join(found + others) or "nothing", ", ".join(raised)
        if "could_not_run" in told:
            cells = "could not be run", told["could_not_run"].replace("|", "/")
        lines.append(f"| {told['name']} | {told['version']} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


NOT_AUDITED = """\
Read, and not audited:

- **albumentations** had `MixUp` up to 1.4.15, the version above, and removed it. Its successor
  AlbumentationsX (2.5.1, AGPL-3.0 or commercial, no dependency of ours) has `Mosaic` and
  `CopyAndPaste`, for boxes and masks, and neither MixUp nor CutMix. Version 1.4.15 ran in an
  environment of its own, with albucore 0.0.16 and NumPy 1.26.
- **MONAI's MixUp** takes no class labels, so that nothing could be compared with its pixels.
- **Ultralytics** (8.4) mixes single images of a detection data set and joins their boxes, each with
  its whole class. There is no share in such a label that pixels could be compared with. For
  classification [it mixes nothing](ultralytics.md).
- **FFCV** could not be installed: it needs OpenCV and libturbojpeg as C libraries. What was audited
  is its formula, in `docs/audit_ffcv.py`.
- **DALI** has no MixUp or CutMix, but parts from which people build them.
"""


def write_page(entries: list[dict[str, Any]]) -> None:
    """The table, and what it leaves out, into audit.md."""
    page = HERE / "audit.md"
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(entries)}\n{NOT_AUDITED}\n{END}{after}")


def main() -> None:
    """Run what is installed, keep what the file has of others."""
    path = HERE / "audit.json"
    entries = json.loads(path.read_text()) if path.exists() else []
    only = [word for word in sys.argv[1:] if not word.startswith("-")]
    if "--page" not in sys.argv:
        warnings.simplefilter("ignore")  # of the libraries; this is no test of theirs
        for peer in (*torch_peers(), *other_peers(), *numpy_peers(), *our_peers()):
            wanted = not only or any(word in peer.name for word in only)
            new = entry(peer) if wanted else None
            if new is not None:
                entries = [old for old in entries if old["name"] != peer.name] + [new]
        entries.sort(key=lambda told: (told["distribution"] == "batchmix", told["name"].lower()))
        path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    write_page(entries)


if __name__ == "__main__":
    main()
