"""Does mixing help on tables? Small sets that come with scikit-learn, scored on held-out rows.

    python benchmarks/tables_evidence.py mlp
    python benchmarks/tables_evidence.py mlp --quick --out FILE

`mlp` is a network of two hidden layers in PyTorch. A seed is a split of the rows (60 % train, 20 %
choose the step, 20 % test), initial weights and an order of the rows: the same for every arm, so
that arms are compared seed by seed. What was scored is kept in benchmarks/evidence/, and
docs/tables_page.py makes the tables of it. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.fields import Features, Labels, Targets
from batchmix.pairing import Derangement, Near
from batchmix.policies import Columns, MixUp

EVIDENCE = Path(__file__).parent / "evidence"
SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "friedman1")
REGRESSION = ("diabetes", "friedman1")
SEEDS, STEPS, EVERY, BATCH, WIDTH, RATE = 20, 1000, 10, 64, 128, 1e-3
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
NEAR = 0.2  # bandwidth, in standard deviations of the target


class Arm(NamedTuple):
    """What is done to a batch."""

    policy: Any = None
    pairing: Any = Derangement()
    smoothing: float = 0.0
    axes: str | None = None


ARMS = {
    "none": Arm(),
    "smooth:0.1": Arm(smoothing=0.1),  # soft labels, rows as they are
    "mixup:0.2": Arm(MixUp(0.2)),
    "mixup:1": Arm(MixUp(1.0)),
    "mixup:1,dominant": Arm(MixUp(1.0, dominant=True)),
    "columns:0.3": Arm(Columns(0.3), axes="C"),
    "near": Arm(MixUp(2.0), Near(NEAR)),  # C-Mixup
}


def arms_of(name: str) -> list[str]:
    """Those that make sense for a set: a number has no smoothing, a class no nearness."""
    return [arm for arm in ARMS if arm != ("smooth:0.1" if name in REGRESSION else "near")]


class Part(NamedTuple):
    """Some rows of a set."""

    x: NDArray[np.float32]
    y: NDArray[Any]  # ids, or float32 standardised by the training rows


class Split(NamedTuple):
    """The rows of a set as one seed has them."""

    train: Part
    val: Part
    test: Part
    classes: int  # 0: numbers are predicted
    scale: float  # of a number, in the set's own units


def table(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """All rows of a set."""
    from sklearn import datasets

    if name == "friedman1":
        return datasets.make_friedman1(400, noise=1.0, random_state=0)  # type: ignore[no-any-return]
    return getattr(datasets, f"load_{name}")(return_X_y=True)  # type: ignore[no-any-return]


def split(name: str, seed: int) -> Split:
    """Rows of each part; classes as often in each of them, columns standardised by the first."""
    from sklearn.model_selection import train_test_split

    x, y = table(name)
    classes = 0 if name in REGRESSION else int(y.max()) + 1
    left, parts = np.arange(len(x)), []
    for share in (SHARES["test"], SHARES["val"] / (1 - SHARES["test"])):
        even = y[left] if classes else None
        left, some = train_test_split(left, test_size=share, random_state=seed, stratify=even)
        parts.append(some)
    rows = {"train": left, "val": parts[1], "test": parts[0]}
    mean, spread = x[left].mean(0), x[left].std(0)
    x = ((x - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
    scale = 1.0
    if not classes:
        scale = float(y[left].std())
        y = ((y - y[left].mean()) / scale).astype(np.float32)
    found = (Part(x[some], y[some]) for some in rows.values())
    return Split(*found, classes, scale)


def batches(rows: int, seed: int) -> Iterator[NDArray[Any]]:
    """Numbers of rows, without end: each pass in an order of its own."""
    rng = np.random.default_rng(seed)
    while True:
        yield from np.array_split(rng.permutation(rows), max(1, round(rows / BATCH)))


def mlp(data: Split, arm: Arm, seed: int, steps: int) -> dict[str, float]:
    """Train, keep the weights of the step that the validation rows choose, score the test rows."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    columns, out = data.train.x.shape[1], data.classes or 1
    model = nn.Sequential(
        nn.Linear(columns, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, out),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    target = Labels(data.classes, arm.smoothing) if data.classes else Targets()
    fields = {0: Features("NC"), 1: target}
    mixer = bm.Mixer(arm.policy, fields, pairing=arm.pairing, seed=seed, axes=arm.axes)
    x, y = (torch.from_numpy(part) for part in data.train)
    loss = nn.CrossEntropyLoss() if data.classes else nn.MSELoss()
    best: tuple[float, int, Any] = (np.inf, 0, None)
    for step, rows in enumerate(batches(len(x), seed), 1):
        mixed, wanted = mixer((x[rows], y[rows]))
        given = model(mixed)
        error = loss(given if data.classes else given[:, 0], wanted)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        if step % EVERY == 0:
            found = scores(_predicted(model, data.val.x, data.classes), data.val.y)["loss"]
            if found < best[0]:
                best = found, step, copy.deepcopy(model.state_dict())
        if step == steps:
            break
    model.load_state_dict(best[2])
    found = scores(_predicted(model, data.test.x, data.classes), data.test.y, data.scale)
    return found | {"step": float(best[1])}


def _predicted(model: Any, x: NDArray[np.float32], classes: int) -> NDArray[np.float64]:
    """Probabilities [N, C], or numbers [N]."""
    import torch

    with torch.no_grad():
        given = model(torch.from_numpy(x)).double()
        return (given.softmax(1) if classes else given[:, 0]).numpy()  # type: ignore[no-any-return]


def scores(given: NDArray[Any], y: NDArray[Any], scale: float = 1.0) -> dict[str, float]:
    """Log-loss and accuracy of probabilities; of numbers the root of the mean square error."""
    if given.ndim == 2:
        right = given[np.arange(len(y)), y]
        loss = float(-np.log(np.maximum(right, 1e-12)).mean())
        return {"loss": loss, "accuracy": float((given.argmax(1) == y).mean())}
    return {"loss": scale * float(np.sqrt(((given - y) ** 2).mean()))}


MODELS = {"mlp": mlp}


def study(model: str, sets: tuple[str, ...], seeds: int, steps: int) -> dict[str, Any]:
    """Every set, arm and seed."""
    runs = []
    for name in sets:
        for seed in range(seeds):
            data = split(name, seed)
            for arm in arms_of(name):
                found = MODELS[model](data, ARMS[arm], seed, steps)
                short = {key: float(f"{value:.6g}") for key, value in found.items()}
                runs.append({"set": name, "arm": arm, "seed": seed} | short)
        print(name, file=sys.stderr, flush=True)
    facts = {name: list(table(name)[0].shape) for name in sets}
    libraries = ("numpy", "scikit-learn", "torch")
    return {
        "model": model,
        "sets": facts,
        "seeds": seeds,
        "steps": steps,
        "shares": SHARES,
        "versions": {name: version(name).partition("+")[0] for name in libraries},
        "runs": runs,
    }


def main(words: list[str] | None = None) -> None:
    """Run a study and keep it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", choices=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="two sets, two seeds, few steps")
    parser.add_argument("--out", type=Path, help="file; left out, the one in benchmarks/evidence")
    args = parser.parse_args(words)
    if args.quick and args.out is None:
        parser.error("--quick needs --out: what it finds is no evidence")
    began = time.monotonic()
    sets = ("iris", "diabetes") if args.quick else SETS
    found = study(args.model, sets, *((2, 40) if args.quick else (SEEDS, STEPS)))
    found["minutes"] = round((time.monotonic() - began) / 60, 1)
    out = args.out or EVIDENCE / f"tables-{args.model}.json"
    out.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
