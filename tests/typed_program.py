"""A user's program for type checkers: what is right has no error, what is marked is one.

Both checkers report a mark that is not needed, so each marked line is an error to each of them.
Checked by `make types`, and as installed by `make matrix`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
import torch
from numpy.typing import NDArray

import batchmix as bm
from batchmix.fields import Features, Field, Image, Labels
from batchmix.pairing import Pairing, Reverse, Within
from batchmix.policies import CutMix, MixUp, Policy, Schedule, Sometimes, Switch


class Third:
    """A user's own pairing: the next row but two."""

    def pair(
        self, rng: np.random.RandomState, batch: int, hints: Mapping[str, Any]
    ) -> NDArray[np.int64]:
        return (np.arange(batch) + 3) % batch


def policies() -> list[Policy | None]:
    return [
        None,
        MixUp(0.2),
        Switch([MixUp(), CutMix()], [0.3, 0.7]),
        Schedule({0: None, 5: MixUp()}),
    ]


def pairings() -> list[Pairing]:
    return [Reverse(), Within(4, Reverse()), Third()]


def train(loader: Iterable[tuple[torch.Tensor, torch.Tensor]], model: torch.nn.Module) -> float:
    fields: dict[int, Field] = {0: Image("NCHW"), 1: Labels(10, smoothing=0.1)}
    mixer = bm.Mixer(Sometimes(CutMix(1.0), 0.5), fields, pairing=Reverse(), seed=1, rank=0)
    total = 0.0
    for images, labels in loader:
        images, targets = mixer((images, labels))
        loss = bm.losses.soft_cross_entropy(model(images), targets)
        loss.backward()
        total += float(loss)
    state = mixer.state_dict()
    mixer.load_state_dict(state)
    return total


def on_jax(images: jax.Array, labels: jax.Array) -> jax.Array:
    plan: bm.Plan = bm.draw(MixUp(), bm.Key(0, step=3), 8, {"H": 32, "W": 32})
    first, second, lam = bm.pairs(labels, plan)
    mixed: jax.Array = bm.mix(images, plan, "NHWC")
    total: jax.Array = mixed + lam.sum() + (first - second).sum()
    return total


def on_numpy(table: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    plan = bm.draw(MixUp(0.4), bm.Key(seed=0), len(table), {})
    lam: NDArray[np.float32] = plan.lam
    soft: NDArray[np.float32] = bm.mix_labels(ids, plan, classes=3)
    score: float = bm.metrics.accuracy(soft, ids)
    mixed: dict[str, NDArray[np.float32]] = bm.Mixer(None, {"x": Features("NC")})({"x": table})
    return mixed["x"] * lam[:, None] * score


def wrong() -> None:
    MixUp("0.2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CutMix(placement="outside")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bm.Key("seed")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bm.Mixer(MixUp(), [Image("NCHW")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bm.Mixer(MixUp(), {}, Reverse())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    bm.draw(MixUp(), bm.Key(0), 8)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    bm.draw(Reverse(), bm.Key(0), 8, {})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Switch([Reverse()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    bm.losses.soft_cross_entropy(0, 0, "sum")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    _ = bm.metrics.nll(0, 0).shape  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    _ = bm.mixup  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
