"""Grain mixes in its workers; the batches are the same with any number of them, and on resume.

python examples/grain_loader.py            needs batchmix, grain, scikit-learn
"""

import grain
import numpy as np
from absl import flags
from sklearn.datasets import load_digits

import batchmix as bm
from batchmix.adapters.grain import MixBatch
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch


def pipeline(images, labels, epochs, workers):
    rows = [{"image": x, "label": y} for x, y in zip(images, labels)]
    fields = {"image": Image("NHWC"), "label": Labels(10)}
    batches = grain.MapDataset.source(rows).seed(0).shuffle().batch(64)
    mixer = bm.Mixer(Switch([MixUp(0.4), CutMix(1.0)]), fields, seed=0)
    mix = MixBatch(mixer, steps_per_epoch=len(batches))
    dataset = batches.map_with_index(mix).repeat(epochs).to_iter_dataset()
    return dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))


def train(stream, lr=0.5):
    """A linear classifier on soft labels, by plain gradient descent."""
    weight = np.zeros((64, 10), np.float32)
    for batch in stream:
        x = batch["image"].reshape(len(batch["image"]), -1)
        p = np.exp(x @ weight)
        weight -= lr / len(x) * x.T @ (p / p.sum(1, keepdims=True) - batch["label"])
    return weight


def main():
    flags.FLAGS.mark_as_parsed()  # Grain 0.2.18 with JAX: needed where absl.app does not run main

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    train_set = images[:1500], labels[:1500]

    one, two = pipeline(*train_set, 2, 0), pipeline(*train_set, 2, 2)
    same = all((a[k] == b[k]).all() for a, b in zip(one, two, strict=True) for k in a)
    print("batches of 0 and 2 workers:", "equal" if same else "DIFFERENT")

    iterator, resumed = iter(one), iter(one)
    next(iterator)
    resumed.set_state(iterator.get_state())
    same = all((a[k] == b[k]).all() for a, b in zip(iterator, resumed, strict=True) for k in a)
    print("resumed in the middle of an epoch:", "equal" if same else "DIFFERENT")

    weight = train(pipeline(*train_set, 10, 0))
    right = (images[1500:].reshape(-1, 64) @ weight).argmax(1) == labels[1500:]
    print(f"test accuracy: {right.mean():.3f}")


if __name__ == "__main__":
    main()
