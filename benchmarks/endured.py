"""What endurance.py does over and over: a program's calls, each on data of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import batchmix as bm

ROWS, SIZE, CLASSES = 32, 16, 10
X = np.random.default_rng(0).random((ROWS, 3, SIZE, SIZE), np.float32)
Y = np.arange(ROWS) % CLASSES
FIELDS: dict[int, Any] = {0: bm.fields.Image("NCHW"), 1: bm.fields.Labels(CLASSES)}
POLICY = bm.policies.Switch([bm.policies.MixUp(0.8), bm.policies.CutMix(1.0)])
Work = Callable[[], Iterator[Callable[[], object]]]


def draws() -> Iterator[Callable[[], object]]:
    """One draw of a plan."""
    size, steps = {"H": SIZE, "W": SIZE}, count()
    yield lambda: bm.draw(POLICY, bm.Key(0, 0, next(steps)), ROWS, size)


def mixes() -> Iterator[Callable[[], object]]:
    """One batch through a Mixer."""
    mixer = bm.Mixer(POLICY, FIELDS)
    yield lambda: mixer((X, Y))


def threads() -> Iterator[Callable[[], object]]:
    """Eight threads, each with a batch through one Mixer; the same batches as one by one."""
    mixer = bm.Mixer(POLICY, FIELDS)
    expected = [mixer((X, Y), step) for step in range(8)]
    wrong: list[int] = []

    def one(step: int) -> None:
        if not all(map(np.array_equal, mixer((X, Y), step), expected[step])):
            wrong.append(step)

    def once() -> None:
        eight = [threading.Thread(target=one, args=(i,)) for i in range(8)]
        for each in eight:
            each.start()
        for each in eight:
            each.join()
        assert not wrong, wrong

    yield once


def forks() -> Iterator[Callable[[], object]]:
    """A fork that mixes, while four threads of this process mix."""
    mixer, over = bm.Mixer(POLICY, FIELDS), threading.Event()

    def mix() -> None:
        while not over.wait(0.001):
            mixer((X, Y))

    # daemons: a fork that hangs ends this program
    busy = [threading.Thread(target=mix, daemon=True) for _ in range(4)]
    for each in busy:
        each.start()

    def once() -> None:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                bm.Mixer(POLICY, FIELDS)((X, Y))
                code = 0
            finally:
                os._exit(code)
        ended = time.monotonic() + 60
        while not (found := os.waitpid(pid, os.WNOHANG))[0]:
            assert time.monotonic() < ended, "a fork hangs"
            time.sleep(0.001)
        assert found[1] == 0, "a fork failed"

    yield once
    over.set()
    for each in busy:
        each.join()


def _rows() -> Any:
    import torch

    return torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))


def mix_loader() -> Iterator[Callable[[], object]]:
    """An epoch of MixLoader with two workers."""
    from batchmix.adapters.torch import MixLoader

    mixer = bm.Mixer(POLICY, FIELDS)
    loader = MixLoader(_rows(), mixer=mixer, batch_size=8, shuffle=True, num_workers=2)
    yield lambda: sum(1 for _ in loader)


def mix_collate() -> Iterator[Callable[[], object]]:
    """An epoch of a DataLoader with MixCollate and two workers."""
    from torch.utils.data import DataLoader

    from batchmix.adapters.torch import MixCollate

    collate = MixCollate(bm.Mixer(POLICY, FIELDS))
    loader = DataLoader(_rows(), batch_size=8, shuffle=True, num_workers=2, collate_fn=collate)
    epochs = count()

    def once() -> None:
        collate.set_epoch(next(epochs))
        for _ in loader:
            pass

    yield once


def timm_mixup() -> Iterator[Callable[[], object]]:
    """A batch through timm's Mixup."""
    import torch

    from batchmix.adapters.timm import Mixup

    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=CLASSES)
    x, y = torch.tensor(X), torch.tensor(Y)
    yield lambda: mixup(x.clone(), y)


def torchvision() -> Iterator[Callable[[], object]]:
    """A batch through torchvision's CutMix."""
    import torch

    from batchmix.adapters.torchvision import CutMix

    cutmix = CutMix(num_classes=CLASSES)
    x, y = torch.tensor(X), torch.tensor(Y)
    yield lambda: cutmix(x, y)


def steps() -> Iterator[Callable[[], object]]:
    """252 steps of `train`, a run after the other in this process."""
    from batchmix.cli import main

    numbers = count()
    with tempfile.TemporaryDirectory() as folder:

        def once() -> None:
            words = ["train", "digits", "--limit-train", "64", "--batch-size", "16", "--quiet"]
            words += ["--mixup", "0.8", "--epochs", "63", "--json"]
            words += ["--out", f"{folder}/{next(numbers)}"]
            real, sys.stdout = sys.stdout, Path(os.devnull).open("w")  # noqa: SIM115
            try:
                main(words)
            except SystemExit as end:
                if end.code:
                    raise
            finally:
                sys.stdout.close()
                sys.stdout = real

        yield once


def explorer() -> Iterator[Callable[[], object]]:
    """One move on the page of `explore`, without its server."""
    from batchmix.cli.explore._render import render
    from batchmix.cli.show.opened import open_source

    chance = np.random.default_rng(0)
    source = open_source("digits")

    def once() -> None:
        policy = ("mixup", "cutmix", "switch")[chance.integers(3)]
        a, seed = round(float(chance.uniform(0.1, 8)), 2), int(chance.integers(100))
        first = int(chance.integers(1000))
        query = {"first": str(first), "policy": policy, "a": str(a), "seed": str(seed)}
        render(query, {"digits": source})

    yield once


# how often each is done, in full
WORKS: dict[str, tuple[Work, int]] = {
    "draws": (draws, 1_000_000),
    "mixes": (mixes, 20_000),
    "threads": (threads, 1_000),
    "forks": (forks, 400),
    "mix_loader": (mix_loader, 50),
    "mix_collate": (mix_collate, 50),
    "timm_mixup": (timm_mixup, 5_000),
    "torchvision": (torchvision, 5_000),
    "explorer": (explorer, 2_500),
    "steps": (steps, 40),
}
