"""Ray Data: mixing as a function for `map_batches`, keyed by the ids of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.fields import Field
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy

__all__ = ["MixBatch"]


class MixBatch:
    """Mix the rows of each batch of Ray Data: ``ds.map_batches(MixBatch(...), batch_size=64)``.

    The key of a plan is ``Key(seed, epoch, digest of the sorted ids)``, and the plan is drawn for
    the rows in the order of their ids. So in a batch of the same ids each row has the same partner
    and the same mix, on any worker, in any order of blocks and of rows. Ray decides by its blocks
    and `batch_size` which ids come together in a batch.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      fields: {column: what it is}, as for `batchmix.Mixer`. Columns that are not named are kept.
      ids: column of row ids, integers or strings, each only once in a batch.
      pairing: who is whose partner.
      seed: of the run.
      epoch: pass over the data; another number gives the same batches other mixes.
      axes: letters of the axes that boxes lie on, as for `batchmix.Mixer`.

    Raises:
      MixError: at the call: no column of ids, or ids that repeat; a field that is missing or does
        not fit; a batch that is no dict of NumPy arrays.

    Example:
      >>> from batchmix.fields import Image, Labels
      >>> from batchmix.policies import MixUp
      >>> mix = MixBatch(MixUp(1.0), {"image": Image("NHWC"), "label": Labels(10)}, seed=0)
      >>> batch = {"id": np.arange(4), "image": np.ones((4, 2, 2, 3)), "label": np.arange(4)}
      >>> turned = {name: column[::-1] for name, column in batch.items()}
      >>> bool((mix(turned)["label"][::-1] == mix(batch)["label"]).all())
      True

    Differs from: a generator of random numbers in a function for `map_batches` starts anew in each
    worker, so that workers repeat each other, and the result depends on their number.
    """

    def __init__(
        self,
        policy: Policy | None,
        fields: Mapping[Any, Field],
        *,
        ids: str = "id",
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        seed: int = 0,
        epoch: int = 0,
        axes: str | None = None,
    ) -> None:
        self.mixer = bm.Mixer(policy, fields, pairing=pairing, seed=seed, axes=axes)
        self.ids, self.epoch = ids, epoch

    def __call__(self, batch: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """A mixed copy of `batch`, rows in the order in which they came."""
        if not isinstance(batch, Mapping):
            raise mix_error(
                "MixBatch", f"got a {type(batch).__name__}.", "It mixes dicts of NumPy arrays.",
                'Leave out batch_format, or pass batch_format="numpy".',
            )  # fmt: skip
        if self.ids not in batch:
            raise self._bad_ids(f"the batch has the columns {list(batch)}.")
        ids = np.asarray(batch[self.ids])
        if ids.ndim != 1 or ids.dtype.kind not in "iuUSO":
            raise self._bad_ids(f"it has dtype {ids.dtype} and shape {ids.shape}.")
        order = np.argsort(ids)
        ordered = ids[order].tolist()
        if len(set(ordered)) < len(ordered):
            raise self._bad_ids("an id occurs twice in one batch.")
        digest = hashlib.blake2b(repr(ordered).encode(), digest_size=8).digest()
        plan = self.mixer.draw(batch, step=int.from_bytes(digest, "little"), epoch=self.epoch)
        mixed: dict[str, NDArray[Any]] = self.mixer.apply(batch, _moved(plan, order))
        return mixed

    def _bad_ids(self, got: str) -> bm.MixError:
        return mix_error(
            "MixBatch", f"column {self.ids!r}: {got}",
            "Mixes follow a column of ids, integers or strings, that no two rows share.",
            "Number the rows where the data set is made, and pass ids=<name of the column>.",
        )  # fmt: skip


def _moved(plan: bm.Plan, order: NDArray[Any]) -> bm.Plan:
    """The plan of a batch whose row `order[k]` is row k of `plan`."""
    back = np.argsort(order)
    columns = {name: column[back] for name, column in plan.columns().items()}
    columns["partner"] = order[columns["partner"]].astype(np.int32)
    return bm.Plan.unchecked(axes=plan.axes, size=plan.size, **columns)
