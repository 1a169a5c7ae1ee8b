"""timm's tutorial on MixUp and CutMix: what each mode does to a batch, on timm's own loader.

python examples/seeds/timm_tutorial.py --out figures               scikit-learn's digits
python examples/seeds/timm_tutorial.py --out figures --data DIR    DIR/CLASS/IMAGE

Needs batchmix, timm, torchvision, scikit-learn, matplotlib.
"""

# %% [markdown]
# ## What is imported
#
# Only the last import differs from a script written for timm alone. `Mixup` takes timm's
# arguments and returns what timm's class returns.

# %%
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, ImageDataset, create_loader

from batchmix.adapters.timm import Mixup

matplotlib.use("Agg")
from matplotlib import pyplot as plt

MIXUP, CUTMIX = {"mixup_alpha": 1.0, "cutmix_alpha": 0.0}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}
BOTH = {"mixup_alpha": 0.3, "cutmix_alpha": 0.3, "switch_prob": 0.5}
ROWS = 8

# %% [markdown]
# ## Images to load
#
# timm's `ImageDataset` reads folders of images, one folder for each class. Without a folder of
# your own the program writes 400 of scikit-learn's handwritten digits in that form.


# %%
def digits(folder):
    """The digits as images, one folder per class."""
    images, labels = load_digits(return_X_y=True)
    for k, (image, label) in enumerate(zip(images[:400], labels, strict=False)):
        path = folder / str(label) / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.round(image.reshape(8, 8) * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(path)


# %% [markdown]
# ## From a tensor to a picture
#
# The loader normalises images, so a figure has to undo it. Under each image stand the classes of
# its soft label. A share of 0.65 means that 65 % of the label are that class.


# %%
def shown(image):
    """A normalised image [3, H, W] as [H, W, 3] in 0..1."""
    image = image.numpy().transpose(1, 2, 0) * IMAGENET_DEFAULT_STD + IMAGENET_DEFAULT_MEAN
    return image.clip(0, 1)


def caption(target, names):
    """The classes of a soft label, the heavier first."""
    share, at = target.topk(2)
    parts = [f"{names[k]} {s:.0%}" for s, k in zip(share, at, strict=True) if s > 0.005]
    return "\n".join(parts)


# %% [markdown]
# ## One figure for each mode
#
# Each figure has four lines: the batch as loaded, MixUp, CutMix, and both. timm pairs row `i`
# with row `B - 1 - i`, so the first image is mixed with the last one.
#
# The mode says how often a weight is drawn: once for the whole batch ("batch"), once for each
# pair ("pair"), or once for each image ("elem").


# %%
def figure(mode, batch, names, out):
    """A batch as it was, and mixed in one mode by MixUp, by CutMix and by both."""
    images, ids = batch
    rows = {"as loaded": (images, torch.eye(len(names))[ids])}
    for name, alphas in {"MixUp": MIXUP, "CutMix": CUTMIX, "both": BOTH}.items():
        mix = Mixup(**alphas, mode=mode, label_smoothing=0.0, num_classes=len(names), seed=4)
        rows[name] = mix(images.clone(), ids)  # it mixes in place, as timm does
    fig, axes = plt.subplots(len(rows), ROWS, figsize=(1.5 * ROWS, 8.2), layout="constrained")
    for line, (name, (pictures, targets)) in zip(axes, rows.items(), strict=True):
        for ax, picture, target in zip(line, pictures, targets, strict=True):
            ax.imshow(shown(picture))
            ax.set_xlabel(caption(target, names), fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=12, labelpad=8)
    fig.suptitle(f"mode={mode!r}: row i is mixed with row {ROWS - 1} - i", fontsize=13)
    fig.savefig(out / f"timm-{mode}.png", dpi=120)
    plt.close(fig)


# %% [markdown]
# ## timm's own loader
#
# The loader is timm's `create_loader`, here without augmentation, so that nothing but the mixing
# changes an image.


# %%
def main(out, data=None):
    """A figure for each mode; they go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            digits(Path(folder))
        dataset = ImageDataset(str(data or folder))
        names = [
            name for name, _ in sorted(dataset.reader.class_to_idx.items(), key=lambda p: p[1])
        ]
        torch.manual_seed(0)
        loader = create_loader(
            dataset, (3, 64, 64), ROWS, is_training=True, no_aug=True, num_workers=0,
            use_prefetcher=False, persistent_workers=False, device=torch.device("cpu"),
        )  # fmt: skip
        batch = next(iter(loader))
    for mode in ("batch", "pair", "elem"):
        figure(mode, batch, names, out)
        print(f"Saved: timm-{mode}.png")


# %% [markdown]
# ## Run it

# %% tags=["active-py"]
if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("figures"))
    main(**vars(parser.parse_args()))

# %% tags=["active-ipynb"]
# from IPython import display
#
# main(Path("figures"))
# for path in sorted(Path("figures").glob("timm-*.png")):
#     display.display(display.Image(path))

# %% [markdown]
# ## What the figures show
#
# ![Eight digits as loaded, mixed by MixUp, by CutMix and by both; all eight with one
# weight](timm-batch.png)
#
# "batch" is timm's default. One number is drawn for all eight images, so every image keeps the
# same share of itself. Under "both" a coin chose MixUp for the whole batch.
#
# ![The same eight digits; the first and the last, the second and the last but one share a
# weight](timm-pair.png)
#
# "pair" draws a number for each pair. The first and the last image are one pair, and have one
# box.
#
# ![The same eight digits, each with a weight of its own](timm-elem.png)
#
# "elem" draws a number for each image. This is the variety that you get everywhere else in
# batchmix without asking for it. Look at the labels under the CutMix line: they are the share of
# pixels that you see.
