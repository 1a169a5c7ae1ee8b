"""How fast and how large is the way from JPEG files to normalised batches, and to trained weights?

    python benchmarks/feed.py speed     images per second, beside timm's create_loader
    python benchmarks/feed.py train     the same with a model in training, mixed batches, SGD
    python benchmarks/feed.py memory    all processes together, while 100,000 files go by

Both loaders read the same folder of 256 px with the same batch size and number of workers, draw
random resized crops and flips, and end in float32 on the CPU; they take turns, pass by pass.
The files are made of noise over smooth colours, some dozens of them, linked under other names.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from batchmix.cli._words import parse
from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.engine.fabric import open_fabric
from batchmix.cli.lab.loading.feed import Feed, prepare
from batchmix.cli.lab.loading.timm_augment import MEAN, STD
from batchmix.cli.lab.training import Training

_DISTINCT = 48
_CLASSES = 8


def make_folder(folder: Path, count: int) -> None:
    """CLASS/N.jpg, 256 px, quality 90."""
    rng = np.random.default_rng(0)
    first: list[Path] = []
    for i in range(count):
        path = folder / f"class{i % _CLASSES}" / f"{i:06}.jpg"
        if i < _CLASSES:
            path.parent.mkdir(parents=True)
        if i < _DISTINCT:
            colours = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
            smooth = np.asarray(colours.resize((256, 256), Image.Resampling.BICUBIC))
            noise = rng.integers(-12, 13, smooth.shape)
            Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
            first.append(path)
        else:
            path.hardlink_to(first[i % _DISTINCT])


def ours(folder: Path, args: argparse.Namespace) -> Callable[[int], Iterator[torch.Tensor]]:
    """The batches of a pass, by its epoch."""
    training = Training(
        model="", epochs=1, batch_size=args.batch_size, lr=0.1, image_size=args.size,
        augment=args.augment, workers=args.workers,
    )  # fmt: skip
    feed = Feed(open_data(str(folder)).train, "image", training, train=True)

    def batches(epoch: int) -> Iterator[torch.Tensor]:
        for batch in feed.epoch(epoch):
            yield prepare(batch.x, list(MEAN), list(STD), "image")

    return batches


def timms(folder: Path, args: argparse.Namespace) -> Callable[[int], Iterator[torch.Tensor]]:
    """The same by timm."""
    from timm.data import create_loader
    from timm.data.dataset import ImageDataset

    rich = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel"}
    loader: Any = create_loader(
        ImageDataset(str(folder)),
        (3, args.size, args.size),
        args.batch_size,
        is_training=True,
        color_jitter=0.0,
        interpolation="random" if args.augment == "timm" else "bilinear",
        num_workers=args.workers,
        device=torch.device("cpu"),
        **(rich if args.augment == "timm" else {}),
    )
    return lambda epoch: (x for x, _ in loader)


def ours_trained(folder: Path, args: argparse.Namespace) -> Callable[[int], Iterator[torch.Tensor]]:
    """A pass of `batchmix train`; what it yields is as long as the rows that it saw."""
    data, classes = open_data(str(folder)), _CLASSES
    training = Training(
        model=f"timm:{args.model}", epochs=args.rounds + 1, batch_size=args.batch_size, lr=0.01,
        image_size=args.size, augment=args.augment, workers=args.workers,
    )  # fmt: skip
    (entry,) = parse("switch:0.8,1.0")
    scale = loop.Scale(list(MEAN), list(STD), torch.zeros(classes), torch.ones(classes))
    fabric = open_fabric(accelerator="cpu", devices=1, precision="32-true")
    shape = (3, args.size, args.size)
    run = loop.set_up(fabric, training, entry, data.task, "image", shape, scale)
    feed = Feed(data.train, "image", training, train=True)

    def a_pass(epoch: int) -> Iterator[torch.Tensor]:
        loop.train_epoch(run, feed, epoch)
        yield torch.empty(len(data.train))

    return a_pass


def timms_trained(
    folder: Path, args: argparse.Namespace
) -> Callable[[int], Iterator[torch.Tensor]]:
    """The steps of timm's train.py with the same model, mixing and optimizer."""
    import timm
    from timm.loss import SoftTargetCrossEntropy

    batches = timms(folder, args)
    mixup = timm.data.Mixup(0.8, 1.0, label_smoothing=0.0, num_classes=_CLASSES)
    model = timm.create_model(args.model, num_classes=_CLASSES).train()
    loss_of = SoftTargetCrossEntropy()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def a_pass(epoch: int) -> Iterator[torch.Tensor]:
        for x in batches(epoch):
            x = x[: len(x) // 2 * 2]  # timm's Mixup takes pairs
            x, target = mixup(x, torch.randint(_CLASSES, (len(x),)))
            loss = loss_of(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield x

    return a_pass


def speed(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Images per second, and per second of processor time of all processes, of each pass."""
    makers = (ours_trained, timms_trained) if args.what == "train" else (ours, timms)
    loaders = {name: make(folder, args) for name, make in zip(("batchmix", "timm"), makers)}
    found: dict[str, dict[str, list[float]]] = {"wall": {}, "processor": {}}
    for turn in range(args.rounds + 1):
        for name, batches in loaders.items():
            start, busy, images = time.perf_counter(), _busy(), 0
            for x in batches(turn):
                images += len(x)
            if turn:  # the first starts the workers
                seconds = {"wall": time.perf_counter() - start, "processor": _busy() - busy}
                for clock, value in seconds.items():
                    found[clock].setdefault(name, []).append(images / value)
    ratios = {}
    for clock, rates in found.items():
        for name, values in rates.items():
            line = f"{statistics.median(values):7.0f}  ({min(values):.0f} to {max(values):.0f})"
            print(f"images per {clock} second  {name:10}{line}")
        ratios[clock] = statistics.median(a / b for a, b in zip(rates["batchmix"], rates["timm"]))
        print(f"images per {clock} second  {'ratio':10}{ratios[clock]:7.2f}")
    return {"images_per_second": found, "ratio": ratios}


def memory(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The most that this process and its workers held together, in MB; `pss` counts pages once."""
    most = {"rss": 0.0, "pss": 0.0}
    start, images = time.perf_counter(), 0
    for step, x in enumerate(ours(folder, args)(0)):
        images += len(x)
        if step % 20 == 0:
            for name, value in _held().items():
                most[name] = max(most[name], value)
    seconds = time.perf_counter() - start
    print(f"{images} images in {seconds:.0f} s; RSS {most['rss']:.0f} MB, PSS {most['pss']:.0f} MB")
    return {"images": images, "seconds": seconds, **most}


def _family() -> list[int]:
    """This process and its children."""
    pids = [os.getpid()]
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        pids += map(int, (task / "children").read_text().split())
    return pids


def _busy() -> float:
    """Seconds that the processors worked for them."""
    ticks = 0
    for pid in _family():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user, system
    return ticks / os.sysconf("SC_CLK_TCK")


def _held() -> dict[str, float]:
    """MB of them."""
    total = {"rss": 0.0, "pss": 0.0}
    for pid in _family():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name = line.partition(":")[0].lower()
            if name in total:
                total[name] += int(line.split()[1]) / 1024
    return total


def main() -> None:
    """Measure and print; --json keeps what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["speed", "train", "memory"])
    parser.add_argument("--images", type=int, help="default: 2,048; train: 512; memory: 100,000")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="resnet18", help="of timm, for train")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--augment", choices=["light", "timm"], default="light")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    images = args.images or {"speed": 2048, "train": 512, "memory": 100_000}[args.what]
    with tempfile.TemporaryDirectory() as temporary:
        make_folder(Path(temporary), images)
        result = (memory if args.what == "memory" else speed)(Path(temporary), args)
    if args.json:
        about = {key: value for key, value in vars(args).items() if key != "json"}
        about |= {"images": images, "cores": os.cpu_count(), "torch": torch.__version__}
        args.json.write_text(json.dumps({"arguments": about, **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
