"""Datarax' MixUp and CutMix tutorial with batchmix as the stage: four figures.

python examples/seeds/datarax_tutorial.py --out figures [--data FOLDER]

FOLDER holds train/CLASS/*.jpg, as CIFAR-10 does when unpacked; without it scikit-learn's digits are
taken. Needs batchmix, datarax 0.1.4, matplotlib, pillow, scikit-learn.
"""

# %% [markdown]
# ## What is imported
#
# Two lines differ from the tutorial: where `BatchMixOperator` and its configuration come from.

# %%
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from datarax.operators import ElementOperator, ElementOperatorConfig
from datarax.pipeline import Pipeline
from datarax.sources import MemorySource, MemorySourceConfig
from flax import nnx
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_digits

import batchmix as bm
from batchmix.adapters.datarax import BatchMixOperator, BatchMixOperatorConfig
from batchmix.policies import CutMix, MixUp

MEAN, STD = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
BATCH_SIZE, ROWS, COLUMNS = 32, 256, 8
BLUE, ORANGE = "#3366aa", "#dd8833"

# %% [markdown]
# ## Data
#
# With `--data` the program reads CIFAR-10. Without it scikit-learn's handwritten digits are
# taken, as colour images.


# %%
def load(folder):
    """(images uint8 [N, H, W, 3], class ids [N], names), in random order."""
    if folder is None:
        images, labels = load_digits(return_X_y=True)
        images = np.repeat((images.reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8), 3, axis=3)
        names = [str(digit) for digit in range(10)]
    else:
        names = sorted(path.name for path in (folder / "train").iterdir())
        each = -(-ROWS // len(names))
        files = [sorted((folder / "train" / name).glob("*.jpg"))[:each] for name in names]
        images = np.stack([np.asarray(Image.open(file)) for part in files for file in part])
        labels = np.repeat(np.arange(len(names)), [len(part) for part in files])
    order = np.random.default_rng(0).permutation(len(images))[:ROWS]
    return images[order], labels[order], names


# %% [markdown]
# ## The pipeline
#
# Normalise, make one-hot labels, then whatever stages are given. Mixing is one more stage, and
# stands in the training pipeline alone. One-hot labels are the tutorial's choice; `classes=10`
# would take class ids as they are.


# %%
def pipeline(rows, names, stages=()):
    """Normalize, one-hot, then what is given: the labels keep a copy for the figures."""

    def preprocess(element, key=None):
        image = (element.data["image"].astype(jnp.float32) / 255 - MEAN) / STD
        label = element.data["label"]
        one_hot = jnp.eye(len(names))[label]
        return element.update_data({"image": image, "label": one_hot, "label_idx": label})

    prep = ElementOperator(ElementOperatorConfig(stochastic=False), fn=preprocess, rngs=nnx.Rngs(0))
    images, labels = rows
    # in order, as the rows were shuffled once: Datarax 0.1.4 shuffles anew for every batch
    source = MemorySource(MemorySourceConfig(), {"image": images, "label": labels})
    return Pipeline(source=source, stages=[prep, *stages], batch_size=BATCH_SIZE, rngs=nnx.Rngs(42))


# %% [markdown]
# ## The mixing stage


# %%
def mixing(mode, alpha, seed):
    """The tutorial's operator, word for word but for where it is imported from."""
    return BatchMixOperator(
        BatchMixOperatorConfig(
            mode=mode,
            alpha=alpha,
            data_field="image",
            label_field="label",
            stochastic=True,
            stream_name=mode,
        ),
        rngs=nnx.Rngs(**{mode: seed}),
    )


# %% [markdown]
# ## What the stage did
#
# Which image got which partner, and what was pasted, follows from the seed and the number of the
# batch. So it can be drawn a second time, outside of the pipeline, and compared with what came
# out.


# %%
def first_plan(policy, seed, batch):
    """What the stage does to its first batch: anyone with the seed can tell."""
    height, width = batch["image"].shape[1:3]
    return bm.draw(policy, bm.Key(seed), BATCH_SIZE, {"H": height, "W": width})


# %% [markdown]
# ## Rows, partners, and what became of them
#
# Blue is an image's own class, orange its partner's.


# %%
def show(axes, image, title="", color="black"):
    """One image, back in 0..1."""
    axes.imshow(np.clip(np.asarray(image) * STD + MEAN, 0, 1), interpolation="nearest")
    axes.set_title(title, fontsize=8, color=color)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def spread(plan):
    """Eight rows of the batch, from those that keep most of themselves to those that keep least."""
    return np.argsort(-plan.lam)[:: BATCH_SIZE // COLUMNS]


def label_text(label, names):
    """The one or two classes of a soft label."""
    top = [k for k in np.argsort(label)[::-1][:2] if label[k] > 0.005]
    return "\n".join(f"{names[k]} {label[k]:.2f}" for k in top)


def samples(title, original, mixed, plan, names, path):
    """Eight rows, their partners, and what became of them; the region of a cut in white."""
    figure, axes = plt.subplots(3, COLUMNS, figsize=(12, 6), layout="constrained")
    figure.suptitle(title)
    for i, column in zip(spread(plan), axes.T):
        row, partner = original["image"][i], original["image"][plan.partner[i]]
        show(column[0], row, names[original["label_idx"][i]], BLUE)
        show(column[1], partner, names[original["label_idx"][plan.partner[i]]], ORANGE)
        show(column[2], mixed["image"][i], label_text(mixed["label"][i], names))
        (top, bottom), (left, right) = plan.box[i]
        if (bottom - top) * (right - left) < np.prod(plan.size):
            place, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            for part in column[1:]:
                part.add_patch(Rectangle(place, *size, fill=False, edgecolor="white", lw=1.5))
    for part, text in zip(axes[:, 0], ("row", "partner", "mixed")):
        part.set_ylabel(text, fontsize=10)
    save(figure, path)


# %% [markdown]
# ## What alpha does


# %%
def alphas(rows, names, path):
    """One batch at four values of alpha; above each image the weight of the row itself."""
    figure, axes = plt.subplots(4, COLUMNS, figsize=(12, 7.2), layout="constrained")
    figure.suptitle("MixUp: eight rows of a batch by their own weight, from most to least")
    for line, alpha in zip(axes, (0.2, 0.5, 1.0, 2.0)):
        batch = next(iter(pipeline(rows, names, [mixing("mixup", alpha, seed=100)])))
        plan = first_plan(MixUp(alpha), 100, batch)
        for i, place in zip(spread(plan), line):
            show(place, batch["image"][i], f"{plan.lam[i]:.2f}")
        line[0].set_ylabel(f"alpha = {alpha}", fontsize=10)
    save(figure, path)


# %% [markdown]
# ## How soft the labels are


# %%
def label_distribution(rows, names, path):
    """How hard the labels of five batches are, and one example of each kind."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    kinds = [("mixup", 0.4, BLUE, "MixUp (alpha 0.4)"), ("cutmix", 1.0, ORANGE, "CutMix (alpha 1)")]
    found = []
    for mode, alpha, _, _ in kinds:
        batches = zip(range(5), pipeline(rows, names, [mixing(mode, alpha, seed=100)]))
        found.append(np.concatenate([batch["label"] for _, batch in batches]))
    left.hist([label.max(1) for label in found], bins=np.linspace(0.5, 1, 16),
              color=[kind[2] for kind in kinds], label=[kind[3] for kind in kinds])  # fmt: skip
    left.set(xlabel="largest class probability of a row", ylabel="rows of 160",
             title="How hard the labels are")  # fmt: skip
    for k, (label, (_, _, color, text)) in enumerate(zip(found, kinds)):
        example = label[np.argmin(abs(label.max(1) - 0.65))]
        right.bar(np.arange(len(names)) + 0.4 * k - 0.2, example, 0.4, color=color, label=text)
    right.set_xticks(range(len(names)), names, rotation=45, ha="right")
    right.set(ylabel="probability", ylim=(0, 1), title="One soft label of each")
    for part in (left, right):
        part.legend(frameon=False)
        part.spines[["top", "right"]].set_visible(False)
    save(figure, path)


# %% [markdown]
# ## All of it


# %%
def save(figure, path):
    """As PNG, and say so."""
    figure.savefig(path, dpi=120, facecolor="white")
    plt.close(figure)
    print(f"Saved: {path.name}")


def main(out, data=None):
    """Four figures; they go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    *rows, names = load(data)

    original = next(iter(pipeline(rows, names)))
    for mode, policy, seed in (("mixup", MixUp(0.4), 142), ("cutmix", CutMix(1.0), 242)):
        mixed = next(iter(pipeline(rows, names, [mixing(mode, policy.alpha, seed)])))
        untouched = bool((mixed["label_idx"] == original["label_idx"]).all())
        print(f"{mode}: image {mixed['image'].shape}, label {mixed['label'].shape}")
        print(f"{mode}: label_idx is untouched: {untouched}")
        plan = first_plan(policy, seed, mixed)
        title = (
            f"{type(policy).__name__}, alpha {policy.alpha}: rows from most of their own to least"
        )
        path = out / f"cv-cifar-{mode}-samples.png"
        samples(title, original, mixed, plan, names, path)
    alphas(rows, names, out / "cv-cifar-mix-alpha.png")
    label_distribution(rows, names, out / "cv-cifar-mix-labels.png")


# %% [markdown]
# ## Run it

# %% tags=["active-py"]
if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    main(**vars(parser.parse_args()))

# %% tags=["active-ipynb"]
# from IPython import display
#
# main(Path("figures"))
# for path in sorted(Path("figures").glob("cv-*.png")):
#     display.display(display.Image(path))

# %% [markdown]
# ## What the figures show
#
# ![Eight digits, their partners, and the blends of both with their soft
# labels](cv-cifar-mixup-samples.png)
#
# MixUp blends a whole image with its partner. From left to right the image keeps less and less of
# itself.
#
# ![Eight digits, their partners, and the digits with a box of the partner pasted
# in](cv-cifar-cutmix-samples.png)
#
# CutMix pastes a box. The white frame is the box; the label is the share of pixels that you can
# count.
#
# ![Eight digits at four values of alpha, with the weight of the image itself above
# each](cv-cifar-mix-alpha.png)
#
# At alpha 0.2 most images are nearly pure. At alpha 2 most are real blends. Alpha does not change
# the mean weight, which is one half each time: see [Choose alpha](../guides/choose-alpha.md).
#
# ![A histogram of the largest class probability of MixUp and CutMix, and one soft label of
# each](cv-cifar-mix-labels.png)
#
# How soft the labels of five batches became. Labels at the right are nearly hard.
