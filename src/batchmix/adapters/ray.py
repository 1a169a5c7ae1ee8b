"""Ray Data: mixing as a function for `map_batches`, keyed by the ids of the rows."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import batchmix as bm
from batchmix.extend import Untold, checked_epoch, mix_error, mixer_of

__all__ = ["MixBatch"]

_ALONE = (
    "MixBatch: a batch of one row has no partner and is not mixed. With batch_size=None batches "
    "are the blocks: use repartition(target_num_rows_per_block=64), or pass batch_size=64."
)


class MixBatch:
    """Mix the rows of each batch of Ray Data: ``ds.map_batches(MixBatch(mixer), batch_size=64)``.

    The key of a plan is ``Key(seed, epoch, digest of the sorted ids)``, and the plan is drawn for
    the rows in the order of their ids. So in a batch of the same ids each row has the same partner
    and the same mix, on any worker, in any order of blocks and of rows; no rank is needed. Ray
    decides by its blocks and `batch_size` which ids come together in a batch. A row that comes
    alone has no partner and is not mixed; that is a warning.

    Args:
      mixer: whose fields say which column is what; the others are kept.
      ids: column of row ids, integers or strings, each only once in a batch.
      epoch: pass over the data, an integer >= 0; another number gives the same batches other mixes.
        Left out, each pass mixes the same batches alike, and a policy that looks at the epoch is
        refused.

    Raises:
      MixError: an epoch below 0; at the call, no column of ids, or ids that repeat; a field that is
        missing or does not fit; a batch that is no dict of NumPy arrays.

    Example:
      >>> import batchmix as bm
      >>> from batchmix.fields import Image, Labels
      >>> fields = {"image": Image("NHWC"), "label": Labels(10)}
      >>> mix = MixBatch(bm.Mixer(bm.policies.MixUp(1.0), fields, seed=0))
      >>> batch = {"id": np.arange(4), "image": np.ones((4, 2, 2, 3)), "label": np.arange(4)}
      >>> turned = {name: column[::-1] for name, column in batch.items()}
      >>> bool((mix(turned)["label"][::-1] == mix(batch)["label"]).all())
      True

    Differs from: a generator of random numbers in a function for `map_batches` starts anew in each
    worker, so that workers repeat each other, and the result depends on their number.
    """

    def __init__(self, mixer: bm.Mixer, *, ids: str = "id", epoch: int | None = None) -> None:
        mixer, _ = mixer_of("MixBatch", mixer)
        # the process of a worker has a rank by chance; rows are told apart by their ids
        self.mixer = mixer.but(rank=mixer.rank or 0)
        self.ids = ids
        self.epoch = Untold(0) if epoch is None else checked_epoch(epoch, "MixBatch")

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
        if len(ordered) == 1:
            warnings.warn(_ALONE, stacklevel=2)
        digest = hashlib.blake2b(repr(ordered).encode(), digest_size=8).digest()
        # what is read has the order that the plan is drawn in
        seen = {name: v[order] for name, v in batch.items()} if self.mixer.reads else batch
        plan = self.mixer.draw(seen, step=int.from_bytes(digest, "little"), epoch=self.epoch)
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
    for name in (name for name in columns if name.startswith("partner")):
        columns[name] = order[columns[name]].astype(np.int32)
    return bm.Plan.unchecked(**plan.form, **columns)
