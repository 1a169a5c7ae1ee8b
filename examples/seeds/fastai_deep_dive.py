"""fastai's mixup deep dive, run: two pets, their mix, its label, the weights, and a Learner.

python examples/seeds/fastai_deep_dive.py --out figures [--data FOLDER] [--epochs 8]

FOLDER holds images named CLASS_NUMBER.jpg, as the Oxford pets do, or train/CLASS/*.jpg, as CIFAR-10
does when unpacked. Without it, pets of the 37 breeds are drawn. Needs batchmix, fastai, matplotlib.
"""

# %% [markdown]
# ## What is imported
#
# `MixUp` is a callback with the name and the arguments of fastai's own.

# %%
import colorsys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  a method of the Learner
from fastai.vision.all import (
    CategoryBlock,
    DataBlock,
    ImageBlock,
    RandomSplitter,
    RegexLabeller,
    Resize,
    accuracy,
    aug_transforms,
    get_image_files,
    parent_label,
    resnet18,
    set_seed,
    tensor,
    torch,
    using_attr,
    vision_learner,
)
from PIL import Image, ImageDraw, ImageFilter

import batchmix as bm
from batchmix.adapters.fastai import MixUp

SEED = 42
ORANGE = "#dd8833"
CATS = """Abyssinian Bengal Birman Bombay British_Shorthair Egyptian_Mau Maine_Coon Persian Ragdoll
Russian_Blue Siamese Sphynx"""
DOGS = """american_bulldog american_pit_bull_terrier basset_hound beagle boxer chihuahua
english_cocker_spaniel english_setter german_shorthaired great_pyrenees havanese japanese_chin
keeshond leonberger miniature_pinscher newfoundland pomeranian pug saint_bernard samoyed
scottish_terrier shiba_inu staffordshire_bull_terrier wheaten_terrier yorkshire_terrier"""
BREEDS = f"{CATS} {DOGS}".split()

# %% [markdown]
# ## Pets
#
# The post uses the Oxford pets. With `--data` the program does so too. Without it, it draws faces
# of the 37 breeds: enough to see what mixing does, and no download.


# %%
def draw_pet(breed, rng, side=160):
    """A face: cats have pointed ears, dogs hanging ones; the fur tells the breed."""
    k, cat = BREEDS.index(breed), breed in CATS.split()
    hue, light = (k * 0.381966) % 1, 0.35 + 0.13 * (k % 4)
    fur, dark, ground = (
        tuple(int(255 * v) for v in colorsys.hls_to_rgb(h, lum, s))
        for h, lum, s in ((hue, light, 0.55), (hue, light * 0.55, 0.6), (rng.random(), 0.85, 0.3))
    )
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    x, y = side / 2 + rng.uniform(-12, 12, 2)
    r = side * rng.uniform(0.27, 0.33)
    for sign in (-1, 1):
        if cat:
            ear = [(-0.95, -0.4), (-0.75, -1.45), (-0.1, -0.85)]
            draw.polygon([(x + sign * a * r, y + b * r) for a, b in ear], dark)
        else:
            left, right = sorted((x + sign * 0.75 * r, x + sign * 1.35 * r))
            draw.ellipse((left, y - 0.8 * r, right, y + 0.9 * r), dark)
    draw.ellipse((x - r, y - r, x + r, y + r), fur)
    draw.ellipse((x - 0.5 * r, y + 0.1 * r, x + 0.5 * r, y + 0.85 * r), (245, 238, 228))
    for sign in (-1, 1):
        place = x + sign * 0.42 * r
        draw.ellipse((place - 0.17 * r, y - 0.4 * r, place + 0.17 * r, y - 0.02 * r), "white")
        draw.ellipse((place - 0.09 * r, y - 0.33 * r, place + 0.09 * r, y - 0.05 * r), "black")
    draw.ellipse((x - 0.16 * r, y + 0.18 * r, x + 0.16 * r, y + 0.42 * r), (60, 30, 30))
    return image.filter(ImageFilter.GaussianBlur(0.7))


def pets(folder, each=12):
    """Files of drawn pets, named as the Oxford pets are."""
    rng = np.random.default_rng(SEED)
    for breed in BREEDS:
        for i in range(each):
            draw_pet(breed, rng).save(folder / f"{breed}_{i}.jpg")
    return folder


# %% [markdown]
# ## fastai's data block
#
# The one of the post.


# %%
def load(path, size):
    """The DataBlock of the deep dive; class names come from the files or their folders."""
    folders = (path / "train").is_dir()
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=(lambda p: sorted(get_image_files(p / "train"))[::25])
        if folders else (lambda p: sorted(get_image_files(p))),
        splitter=RandomSplitter(valid_pct=0.2, seed=SEED),
        get_y=parent_label if folders else using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name"),
        item_tfms=Resize(2 * size),
        batch_tfms=aug_transforms(min_scale=0.9, size=size),
    )  # fmt: skip
    return block.dataloaders(path, bs=32, num_workers=0, device=torch.device("cpu"))


# %% [markdown]
# ## Sixty per cent of one pet, forty of another
#
# The post mixes by hand: `im1 * .6 + im2 * .4`, and the labels alike. Here the same is a plan. A
# plan says for each image of a batch which other image is pasted, where, and how strongly. Image
# 0 gets image 1 with strength 0.4. Image 1 stays as it is.


# %%
def mix_two(im1, im2, y1, y2, share, classes):
    """`share` of the first image and its label, the rest of the second."""
    plan = bm.Plan(partner=[1, 1], box=[], opacity=[1 - share, 0], axes="", size=())
    image = bm.mix(torch.stack([im1, im2]), plan, "NHWC")[0]
    return image, bm.mix_labels(tensor([y1, y2]), plan, classes)[0]


# %% [markdown]
# ## Pictures and bars


# %%
def plot_images(axes, imgs, titles):
    """Images in 0..1, side by side."""
    for axis, image, title in zip(axes, imgs, titles):
        axis.imshow(np.clip(image, 0, 1))
        axis.set_title(title, fontsize=10)
        axis.axis("off")


def plot_label(axis, label, names):
    """A label as bars, one for each class; those that are not 0 carry their name."""
    axis.bar(range(len(label)), label, color=ORANGE)
    for k in np.flatnonzero(label):
        side = "right" if k > len(label) / 2 else "left"
        axis.text(k, label[k] + 0.03, f"{names[k]}: {label[k]:.2f}", ha=side, fontsize=9)
    axis.set(ylim=(0, 1.15), xlim=(-1, len(label)), xlabel=f"class, of {len(label)}")
    axis.spines[["top", "right"]].set_visible(False)


def save(figure, path):
    """As PNG, and say so."""
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)
    print(f"Saved: {path.name}")


# %% [markdown]
# ## The explanation of the post
#
# Two pets and their mix, and below each its label of 37 classes. Then the question: what weights?


# %%
def explained(dls, out):
    """The two pets, their mix, and the labels of all three; then other weights."""
    vocab, names = list(dls.vocab), ("leonberger", "Ragdoll")
    if names[0] not in vocab:
        names = vocab[-3], vocab[3]
    y1, y2 = (vocab.index(name) for name in names)
    label_of = dls.train_ds.tls[1]
    files = [next(f for f, y in zip(dls.train.items, label_of) if y == k) for k in (y1, y2)]
    im1, im2 = (
        tensor(Image.open(f).convert("RGB").resize((500, 371))).float() / 255 for f in files
    )
    print(f"{names[0]} is class {y1}, {names[1]} is class {y2}, of {len(vocab)}")

    im_mixup, y_mixup = mix_two(im1, im2, y1, y2, 0.6, len(vocab))
    print(f"the same as im1 * .6 + im2 * .4: {bool(im_mixup.allclose(im1 * 0.6 + im2 * 0.4))}")
    print(f"label: {y_mixup}")
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.4), layout="constrained", height_ratios=[5, 3])
    titles = [*names, f"60 % {names[0]}, 40 % {names[1]}"]
    plot_images(axes[0], [im1, im2, im_mixup], titles)
    for axis, label in zip(axes[1], (*torch.eye(len(vocab))[[y1, y2]], y_mixup)):
        plot_label(axis, label.numpy(), vocab)
    save(figure, out / "deep-dive-mixup.png")

    shares = (0.99, 0.9, 0.75, 0.6, 0.5)
    mixed = [mix_two(im1, im2, y1, y2, share, len(vocab))[0] for share in shares]
    figure, axes = plt.subplots(1, len(shares), figsize=(13, 2.5), layout="constrained")
    plot_images(axes, mixed, [f"{100 * s:.0f} / {100 * (1 - s):.0f}" for s in shares])
    figure.suptitle(f"What weights? {names[0]} / {names[1]}, in per cent", fontsize=11)
    save(figure, out / "deep-dive-weights.png")


# %% [markdown]
# ## What the Learner sees
#
# A whole batch, mixed as in training. `bm.pairs` gives both classes of each image and their
# shares.


# %%
def batch_figure(dls, callback, out):
    """What the Learner sees of its first batch, with the labels that go with it."""
    set_seed(SEED)
    x, y = dls.one_batch()
    mixer = callback.mixer
    plan = bm.draw(
        mixer.policy, bm.Key(0), len(x), dict(zip("HW", x.shape[2:])), pairing=mixer.pairing
    )
    mixed = bm.mix(x, plan, "NCHW")
    order = np.argsort(plan.lam)[:: len(x) // 10][:10]
    own, partners, lam = bm.pairs(y, plan)
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.6), layout="constrained")
    titles = [
        f"{dls.vocab[own[i]]} {lam[i]:.2f}\n{dls.vocab[partners[i]]} {1 - lam[i]:.2f}"
        for i in order
    ]
    plot_images(axes.flat, mixed[order].permute(0, 2, 3, 1), titles)
    save(figure, out / "deep-dive-batch.png")


# %% [markdown]
# ## Train
#
# One more callback in the Learner. The loss function stays what it was.


# %%
def main(out, data=None, epochs=8):
    """The whole of it; figures go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = data or pets(Path(folder))
        dls, callback = load(path, 64), MixUp()
        explained(dls, out)
        batch_figure(dls, callback, out)

        set_seed(SEED)
        dls = load(path, 32)  # small, for a CPU
        learn = vision_learner(
            dls, resnet18, pretrained=False, normalize=False, cbs=callback, metrics=accuracy
        )
        loss = learn.loss_func
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(epochs, 1e-2)
            right = learn.validate()[1]
        print(f"held-out accuracy {right:.1%} after {epochs} epochs, without pretrained weights")
        print(f"the loss function is the one that it was: {learn.loss_func is loss}")


# %% [markdown]
# ## Run it

# %% tags=["active-py"]
if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    main(**vars(parser.parse_args()))

# %% tags=["active-ipynb"]
# from IPython import display
#
# main(Path("figures"))
# for path in sorted(Path("figures").glob("deep-dive-*.png")):
#     display.display(display.Image(path))

# %% [markdown]
# ## What the figures show
#
# ![Two drawn pets, their mix, and the label of each as bars over 37 classes](deep-dive-mixup.png)
#
# Both pets can be seen in the mix, and its label has two bars: 0.60 and 0.40.
#
# ![The same two pets at five weights, from 99 to 1 up to 50 to 50](deep-dive-weights.png)
#
# At 99 to 1 nobody sees the second pet. How often such weights are drawn is what
# [alpha](../guides/choose-alpha.md) sets.
#
# ![Ten images of a training batch with both of their breeds and shares](deep-dive-batch.png)
#
# A batch as it is trained on. Every image has another weight.
#
# The accuracy is of a network that was trained from nothing for a few epochs on drawn pets. It
# shows that training works; whether mixing helps on your pets is a question for [`batchmix
# compare`](../compare.md).
