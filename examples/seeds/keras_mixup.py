"""A small convnet without and with mixup, from the same initial weights, on two shuffled streams.

python examples/seeds/keras_mixup.py --data FOLDER: the four IDX files of MNIST or Fashion-MNIST, or
train/CLASS/*.jpg and test/CLASS/*.jpg. Without it, scikit-learn's digits, in seconds.
Needs batchmix, keras, tensorflow, scikit-learn, matplotlib.
"""

# %% [markdown]
# ## What is imported
#
# `MixBatches` is the step in the data pipeline that mixes. `Image` and `Labels` tell it what the
# two parts of a batch are.

# %%
import gzip
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import batchmix as bm
from batchmix.adapters.tensorflow import MixBatches
from batchmix.fields import Image, Labels
from batchmix.policies import MixUp

# %% [markdown]
# ## Data
#
# The original trains on Fashion-MNIST. With `--data` the program reads its four files, or folders
# of JPEG images. Without it scikit-learn's handwritten digits are taken: 1,200 to train on, 597
# to test on.


# %%
def idx(folder, name):
    """An array of an IDX file of bytes, packed or not."""
    (path,) = folder.glob(f"{name}-ubyte*")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def jpegs(folder, rows):
    """Images and ids of FOLDER/CLASS/*.jpg, in a random order."""
    names = sorted(f.name for f in folder.iterdir())
    files = np.random.default_rng(0).permutation(sorted(folder.glob("*/*.jpg")))[:rows]
    images = [tf.io.decode_jpeg(file.read_bytes(), channels=3) for file in files]
    return np.stack(images), np.array([names.index(file.parent.name) for file in files])


def load(folder, rows):
    """(images uint8 [N, H, W, C], ids [N]) to train on, and the same to test on."""
    if folder is None:
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = (x.reshape(-1, 8, 8, 1) * 15.9375).astype(np.uint8)
        return (x[:1200], y[:1200]), (x[1200:], y[1200:])
    if not list(folder.glob("train-images-idx3-ubyte*")):
        return jpegs(folder / "train", rows), jpegs(folder / "test", rows)
    names = "images-idx3", "labels-idx1"
    parts = [[idx(folder, f"{part}-{name}") for name in names] for part in ("train", "t10k")]
    return [(x[:rows, ..., None], y[:rows].astype(np.int64)) for x, y in parts]


# %% [markdown]
# ## The network
#
# The small convolutional network of the original.


# %%
def network(shape):
    """The convnet; images come as bytes."""
    conv = {"kernel_size": 5, "activation": "relu", "padding": "same"}
    net = [layers.Rescaling(1 / 255), layers.Conv2D(16, **conv), layers.MaxPooling2D()]
    net += [layers.Conv2D(32, **conv), layers.MaxPooling2D(), layers.Dropout(0.2)]
    net += [layers.GlobalAveragePooling2D(), layers.Dense(128, activation="relu")]
    return keras.Sequential([keras.Input(shape), *net, layers.Dense(10, activation="softmax")])


# %% [markdown]
# ## Nine mixed images
#
# A label of a mixed image has up to two classes; their shares are written above it.


# %%
def show(batch, path):
    """Nine mixed images with their soft labels, as a PNG."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(8, 8))
    for axis, image, label in zip(axes.flat, batch[0].numpy(), batch[1].numpy()):
        axis.imshow(image.squeeze(), cmap="gray")
        axis.set_axis_off()
        axis.set(title="  ".join(f"{k}: {label[k]:.2f}" for k in label.nonzero()[0]))
    figure.savefig(path)


# %% [markdown]
# ## Train without and with MixUp
#
# As in the original, partners come from a second stream of the same rows in another order: the
# two are zipped. `MixBatches` numbers the batches, so that each has its own mix and a second run
# has the same ones.
#
# Both networks start from the same weights.


# %%
def main(data=None, epochs=10, rows=None, figure=None):
    """Train twice; prints the test accuracy without and with mixup."""
    train, test = load(data, rows)
    rows = tf.data.Dataset.from_tensor_slices(train)
    one, two = (rows.shuffle(6400, seed=seed).batch(64) for seed in (1, 2))
    mixer = bm.Mixer(MixUp(0.2), {0: Image("NHWC"), 1: Labels(10)}, seed=0)
    mixed = tf.data.Dataset.zip((one, two)).apply(MixBatches(mixer, two_streams=True))
    if figure:
        show(next(iter(mixed)), figure)
    plain = one.map(lambda x, y: (x, tf.one_hot(y, 10)))
    keras.utils.set_random_seed(0)
    weights = network(train[0].shape[1:]).get_weights()
    for name, stream in {"without mixup": plain, "with mixup": mixed}.items():
        model = network(train[0].shape[1:])
        model.set_weights(weights)
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        model.fit(stream.prefetch(2), epochs=epochs, verbose=0, shuffle=False)
        accuracy = model.evaluate(test[0], np.eye(10)[test[1]], verbose=0)[1]
        print(f"test accuracy {name}: {accuracy:.2%}")


# %% [markdown]
# ## Run it

# %% tags=["active-py"]
if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    for name, kind in {"data": Path, "epochs": int, "rows": int, "figure": Path}.items():
        parser.add_argument(f"--{name}", type=kind)
    main(**vars(parser.parse_args()))

# %% tags=["active-ipynb"]
# from IPython import display
#
# main(figure=Path("keras-mixed.png"))
# for path in [Path("keras-mixed.png")]:
#     display.display(display.Image(path))

# %% [markdown]
# ## What it shows
#
# ![Nine digits, each mixed with another one; above each the shares of its two
# classes](keras-mixed.png)
#
# Two digits can be seen in some images, one in most: with alpha 0.2 most weights are close to 0
# or 1.
#
# Read the two accuracies with care. This is one run of ten epochs on 1,200 digits, and a
# difference of a few points is chance. Several seeds, enough epochs and a rival are needed for a
# verdict. That is what [`batchmix compare`](../compare.md) does.
