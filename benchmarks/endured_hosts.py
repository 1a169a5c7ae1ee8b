"""What endurance.py does over and over in hosts that have an environment of their own."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np

import batchmix as bm
from endured import CLASSES, FIELDS, POLICY, Work, X, Y

IMAGES = np.moveaxis(X, 1, -1)  # channels last
LAST: dict[int, Any] = {0: bm.fields.Image("NHWC"), 1: bm.fields.Labels(CLASSES)}


def keras_fit() -> Iterator[Callable[[], object]]:
    """An epoch of `fit` on a MixDataset with two workers."""
    import keras

    from batchmix.adapters.keras import MixDataset, TellEpoch

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return IMAGES[8 * index :][:8], Y[8 * index :][:8]

    data = MixDataset(Batches(workers=2), bm.Mixer(POLICY, LAST))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    epochs = count()

    def once() -> None:
        epoch = next(epochs)
        model.fit(
            data, initial_epoch=epoch, epochs=epoch + 1, callbacks=[TellEpoch(data)], verbose=0
        )

    yield once


def tensorflow() -> Iterator[Callable[[], object]]:
    """A pass over a tf.data pipeline with MixBatches."""
    import tensorflow as tf

    from batchmix.adapters.tensorflow import MixBatches

    mix = MixBatches(bm.Mixer(POLICY, LAST))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, Y)).batch(8).apply(mix)
    yield lambda: sum(1 for _ in data)


def grain() -> Iterator[Callable[[], object]]:
    """A pass over a Grain data set with MixBatch and two reading threads."""
    import grain as library

    from batchmix.adapters.grain import MixBatch

    rows = [{"image": image, "label": label} for image, label in zip(IMAGES, Y, strict=True)]
    fields: dict[str, Any] = {"image": LAST[0], "label": LAST[1]}
    batches = library.MapDataset.source(rows).batch(8)
    mixed = batches.map_with_index(MixBatch(bm.Mixer(POLICY, fields), steps_per_epoch=len(batches)))
    read = library.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    yield lambda: sum(1 for _ in mixed.to_iter_dataset(read))


def hugging_face() -> Iterator[Callable[[], object]]:
    """An epoch of a DataLoader with MixCollator and two workers."""
    import torch

    from batchmix.adapters.huggingface import MixCollator

    rows = [{"pixel_values": torch.tensor(x), "labels": y} for x, y in zip(X, Y, strict=True)]
    collate, epochs = MixCollator(POLICY, classes=CLASSES), count()
    loader = torch.utils.data.DataLoader(rows, 8, num_workers=2, collate_fn=collate)

    def once() -> None:
        collate.set_epoch(next(epochs))
        for _ in loader:
            pass

    yield once


def lightning() -> Iterator[Callable[[], object]]:
    """An epoch of a Lightning trainer with MixCallback."""
    import logging

    import lightning as library
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from batchmix.adapters.lightning import MixCallback

    class Module(library.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(X[0].size, CLASSES)

        def training_step(self, batch: Any, _: int) -> Any:
            return torch.nn.functional.cross_entropy(self.head(batch[0].flatten(1)), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    loader = DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = library.Trainer(
        max_epochs=0, accelerator="cpu", enable_checkpointing=False,
        callbacks=[MixCallback(bm.Mixer(POLICY, FIELDS))], **quiet,
    )  # fmt: skip
    module = Module()

    def once() -> None:
        trainer.fit_loop.max_epochs += 1
        trainer.fit(module, loader)

    yield once


def served_page() -> Iterator[Callable[[], object]]:
    """A move on the page of `explore`, asked over HTTP as its own scripts do."""
    from batchmix.cli.explore import open_sources
    from batchmix.cli.explore._app import app
    from batchmix.cli.explore._server import served

    chance = np.random.default_rng(0)

    with served(app(open_sources([]))) as address:
        where = address.removeprefix("http://")

        def once() -> None:
            a, first = round(float(chance.uniform(0.1, 8)), 2), int(chance.integers(1000))
            policy = ("mixup", "cutmix", "switch")[chance.integers(3)]
            connection = http.client.HTTPConnection(where, timeout=60)
            path = f"/show?data=digits&first={first}&rows=2&policy={policy}&a={a}"
            connection.request("GET", path)
            answer = connection.getresponse()
            found = answer.read()
            connection.close()
            assert answer.status == 200, (answer.status, found)
            assert b"data:image/png;base64," in found
            time.sleep(0.03)  # the page takes 30 moves a second

        yield once


# how often each is done, in full
WORKS: dict[str, tuple[Work, int]] = {
    "keras_fit": (keras_fit, 50),
    "tensorflow": (tensorflow, 50),
    "grain": (grain, 50),
    "hugging_face": (hugging_face, 50),
    "lightning": (lightning, 50),
    "served_page": (served_page, 2_500),
}
