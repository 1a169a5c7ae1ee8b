"""Does mixing help on tables? Small sets that come with scikit-learn, scored on held-out rows.

    python benchmarks/tables_evidence.py mlp
    python benchmarks/tables_evidence.py linear
    python benchmarks/tables_evidence.py trees
    python benchmarks/tables_evidence.py mlp --quick --out FILE

`mlp` is a network of two hidden layers in PyTorch, `linear` logistic or ridge regression and
`trees` histogram gradient boosting of scikit-learn. A seed is a split of the rows (60 % train, 20 %
choose the step, the penalty or the number of trees, 20 % test), initial weights and an order of
the rows: the same for every arm, so that arms are compared seed by seed. What was scored is kept in
benchmarks/evidence/, and docs/tables_page.py makes the tables of it. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix.pairing import Near
from batchmix.policies import Columns, MixUp
from tables_models import MODELS, Arm, Part, Split

EVIDENCE = Path(__file__).parent / "evidence"
SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "friedman1")
REGRESSION = ("diabetes", "friedman1")
SLOW = "trees", "digits"  # ten classes: longer than all the others together
SEEDS, STEPS = 20, 1000
SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
NEAR = 0.2  # bandwidth, in standard deviations of the target
ARMS = {
    "none": Arm(),
    "smooth:0.1": Arm(smoothing=0.1),  # soft labels, rows as they are
    "mixup:0.2": Arm(MixUp(0.2)),
    "mixup:1": Arm(MixUp(1.0)),
    "mixup:1,dominant": Arm(MixUp(1.0, dominant=True)),
    "columns:0.3": Arm(Columns(0.3), axes="C"),
    "near": Arm(MixUp(2.0), Near(NEAR)),  # C-Mixup
}


def arms_of(name: str, model: str) -> list[str]:
    """Those that make sense: a number has no smoothing, a class no nearness."""
    out = {"smooth:0.1"} if name in REGRESSION else {"near"}
    out |= set() if model == "mlp" else {"smooth:0.1"}  # the others take no soft labels
    return [arm for arm in ARMS if arm not in out]


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
    rows = left, parts[1], parts[0]
    mean, spread = x[left].mean(0), x[left].std(0)
    x = ((x - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
    scale = 1.0
    if not classes:
        scale = float(y[left].std())
        y = ((y - y[left].mean()) / scale).astype(np.float32)
    train, val, test = (Part(x[some], y[some]) for some in rows)
    return Split(train, val, test, classes, scale)


def study(model: str, sets: tuple[str, ...], seeds: int, steps: int) -> dict[str, Any]:
    """Every set, arm and seed."""
    runs = []
    for name in sets:
        for seed in range(seeds):
            data = split(name, seed)
            for arm in arms_of(name, model):
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
    sets = tuple(one for one in SETS if (args.model, one) != SLOW)
    sets = ("iris", "diabetes") if args.quick else sets
    found = study(args.model, sets, *((2, 40) if args.quick else (SEEDS, STEPS)))
    found["minutes"] = round((time.monotonic() - began) / 60, 1)
    out = args.out or EVIDENCE / f"tables-{args.model}.json"
    out.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
