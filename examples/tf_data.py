"""Mixing in a tf.data pipeline: parallel, and the same in every run.

python examples/tf_data.py mixes scikit-learn's digits for two epochs, twice, and compares.
"""

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import batchmix as bm
from batchmix.adapters.tensorflow import MixBatches
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


def pipeline(first_epoch=0):
    """Shuffled batches of digits, each mixed by its number."""
    images, ids = load_digits(return_X_y=True)
    rows = {"image": images.reshape(-1, 8, 8, 1).astype(np.float32) / 16, "label": ids}
    policy = Switch([MixUp(0.8), CutMix(1.0)])
    mixer = bm.Mixer(policy, {"image": Image("NHWC"), "label": Labels(10)}, seed=0)
    mixing = MixBatches(mixer)
    mixing.set_epoch(first_epoch)
    return (
        tf.data.Dataset.from_tensor_slices(rows)
        .shuffle(2000, seed=0, reshuffle_each_iteration=False)
        .batch(64)
        .apply(mixing)
        .prefetch(tf.data.AUTOTUNE)
    )


def same(one, two):
    """Whether two passes gave the same batches, bit by bit."""
    pairs = zip(one, two, strict=True)
    return all(np.array_equal(a[name], b[name]) for a, b in pairs for name in a)


def main():
    """Compares two runs, two epochs, and a run that starts at the second epoch."""
    data, again = pipeline(), pipeline()
    run, second = [list(data), list(data)], [list(again), list(again)]
    resumed = list(pipeline(first_epoch=1))
    print("element:", data.element_spec["image"].shape, data.element_spec["label"].shape)
    print("two runs are the same:", same(run[0], second[0]) and same(run[1], second[1]))
    print("two epochs are the same:", same(run[0], run[1]))
    print("resumed at epoch 1, the same as before:", same(run[1], resumed))


if __name__ == "__main__":
    main()
