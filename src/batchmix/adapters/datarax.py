"""Datarax: mixing as a stage of its `Pipeline`, under the names of its own operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from datarax import OperatorModule
from datarax.core import config as datarax_config
from datarax.core.element_batch import Batch
from flax import nnx

import batchmix as bm
from batchmix.adapters._epochs import checked_length, epoch_and_step
from batchmix.extend import mix_error
from batchmix.fields import Field, Image, Labels
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import CutMix, MixUp, Policy

__all__ = ["BatchMixOperator", "BatchMixOperatorConfig"]

_VALID = "valid_mask"  # Datarax' name; bool [B], False for padding


@dataclass(frozen=True)
class BatchMixOperatorConfig(datarax_config.BatchMixOperatorConfig):  # type: ignore[misc]
    """What is mixed, and how: the arguments of Datarax' own class, and those of `Mixer`.

    Args:
      mode: "mixup" or "cutmix".
      alpha: parameter of Beta(alpha, alpha), > 0.
      data_field: where the images are, float or 8- or 16-bit [B, ...].
      label_field: where the labels are, probabilities [B, C] or class ids [B]; None where there
        are none.
      stream_name: of the random stream whose key is the seed.
      policy: any policy, instead of `mode` and `alpha`; None mixes nothing (labels still become
        soft).
      pairing: who is whose partner.
      layout: one letter per axis of the images, batch first.
      classes: C; needed for class ids.
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      fields: {where in the batch: what it is} as for `Mixer`, instead of `data_field`,
        `label_field`, `layout`, `classes` and `smoothing`.
      axes: letters of the axes that boxes lie on, as for `Mixer`.
      rank: of this process; left out, asked of it, as by `Mixer`.
      steps_per_epoch: batches per epoch, which policies that look at the epoch need. Without it all
        batches have the plans of epoch 0, and the step goes on.

    Raises:
      MixError: `steps_per_epoch` is not an integer >= 1.
      ValueError: `mode` or `alpha` out of range, by Datarax' own class.

    Example:
      >>> BatchMixOperatorConfig(mode="cutmix", alpha=1.0, classes=10).stream_name
      'batch_mix'

    Differs from: Datarax' own class has the first five arguments.
    """

    # Datarax' own come first and have its defaults: named again for those who read the signature
    mode: str = "mixup"
    alpha: float = 1.0
    data_field: str = "image"
    label_field: str | None = "label"
    stream_name: str | None = "batch_mix"
    # hash=False: a policy or a dict of fields need not be hashable; equality compares them all
    policy: Policy | Literal["mode"] | None = field(default="mode", hash=False)
    pairing: Pairing = field(default=Derangement(), hash=False)
    layout: str = "NHWC"
    classes: int | None = None
    smoothing: float = 0.0
    fields: Mapping[Any, Field] | None = field(default=None, hash=False)
    axes: str | None = None
    rank: int | None = None
    steps_per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Also check `steps_per_epoch`, which Datarax' own class does not have."""
        super().__post_init__()
        checked_length("BatchMixOperatorConfig", self.steps_per_epoch)

    def mixer(self, seed: int) -> bm.Mixer:
        """The mixer that draws and applies the plans of this stage."""
        fields = dict(self.fields or {self.data_field: Image(self.layout)})
        if self.fields is None and self.label_field is not None:
            fields[self.label_field] = Labels(self.classes, self.smoothing)
        policy = self.policy
        if policy == "mode":
            policy = {"mixup": MixUp, "cutmix": CutMix}[self.mode](self.alpha)
        return bm.Mixer(
            policy, fields, pairing=self.pairing, seed=seed, rank=self.rank, axes=self.axes
        )


class BatchMixOperator(OperatorModule):  # type: ignore[misc]
    """A stage that mixes the rows of each batch; fields that are not named stay as they are.

    The stage counts the batches that pass through it. The plan of batch k is
    ``batchmix.draw(policy, Key(seed, 0, k, rank), ...)``, drawn on the host by a callback from the
    compiled step, so that `step`, iteration and `scan` give the same batches. The count is one of
    the `rng_counts` that an iterator saves, so `set_state` resumes it. It is not reset when the
    position goes back to 0, so epochs differ.

    The seed is the key of the stream: 100 for ``nnx.Rngs(mixup=100)``. A second stage that is given
    the same `nnx.Rngs` has a seed of its own.

    Padding rows, where a bool field ``valid_mask`` [B] is False, are neither mixed nor partners.

    Args:
      config: a `BatchMixOperatorConfig`.
      rngs: with a stream of the name in `config`, or a default one.
      name: of the operator.

    Raises:
      MixError: while tracing, a field that is missing or does not fit; the operator inside one of
        Datarax' wrappers, which act row by row.
      ValueError: no `rngs`.

    Example:
      >>> import jax.numpy as jnp
      >>> from datarax.pipeline import Pipeline
      >>> from datarax.sources import MemorySource, MemorySourceConfig
      >>> data = {"image": jnp.zeros((8, 4, 4, 3), "uint8"), "label": jnp.arange(8)}
      >>> mix = BatchMixOperator(BatchMixOperatorConfig(classes=8), rngs=nnx.Rngs(100))
      >>> source = MemorySource(MemorySourceConfig(), data)
      >>> batch = Pipeline(source=source, stages=[mix], batch_size=4, rngs=nnx.Rngs(0)).step()
      >>> batch["image"].dtype.name, batch["label"].shape
      ('uint8', (4, 8))

    Differs from: Datarax' own operator (0.1.4) has one lam and one box for the whole batch (here:
    ``policy=PerBatch(MixUp(0.4))``), repeats its mixes in every epoch, mixes ids and all other
    fields with MixUp, and is silently disabled inside `ProbabilisticOperator`.
    """

    def __init__(
        self,
        config: BatchMixOperatorConfig,
        *,
        rngs: nnx.Rngs | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(config, BatchMixOperatorConfig):
            raise mix_error(
                "BatchMixOperator", f"got a {type(config).__module__}.{type(config).__name__}.",
                "Its config has arguments that that of Datarax lacks.",
                "Import BatchMixOperatorConfig from batchmix.adapters.datarax too.",
            )  # fmt: skip
        seed = None if rngs is None else _seed(rngs[config.stream_name])
        super().__init__(config, rngs=rngs, name=name)  # refuses None, and draws from the stream
        self.seed = nnx.static(seed)
        self.count = nnx.RngCount(jnp.zeros((), jnp.uint32), tag=config.stream_name)

    def apply_batch(self, batch: Batch, stats: dict[str, Any] | None = None) -> Batch:
        """A mixed copy of a Datarax `Batch`, whose valid_mask says which rows are padding."""
        return Batch.from_parts(
            data=self._mixed(batch.data.get_value(), batch.valid_mask[...]),
            states=batch.states.get_value(),
            metadata_list=batch._metadata_list.get_value(),
            batch_metadata=batch._batch_metadata.get_value(),
            batch_state=batch.batch_state.get_value(),
            validate=False,
            valid_mask=batch.valid_mask[...],
        )

    def _apply_on_raw(
        self, batch_data: Any, batch_states: Any, stats: Any = None, global_indices: Any = None
    ) -> tuple[Any, Any]:
        """What a `Pipeline` calls, with a dict of arrays."""
        return self._mixed(batch_data, batch_data.get(_VALID)), batch_states

    def output_spec(self, input_spec: Any) -> Any:
        """Shapes and dtypes of one row after mixing: labels become float32 [C]."""
        mixer = self.config.mixer(self.seed)
        batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), input_spec)
        mixed = jax.eval_shape(lambda batch: mixer(batch, step=0, epoch=0), batch)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), mixed)

    def apply(self, *row: Any) -> Any:
        """Refuse wrappers, which act row by row."""
        raise mix_error(
            "BatchMixOperator", "was called for a single row by one of Datarax' wrappers.",
            "Mixing needs the whole batch, so it is a stage of its own.",
            "Put the chance in the policy: policy=Sometimes(Switch([MixUp(), CutMix()]), 0.5).",
        )  # fmt: skip

    generate_random_params = apply  # some wrappers call this one first

    def _mixed(self, data: Any, valid: Any) -> Any:
        """`data` mixed by the next plan."""
        if self.config.fields is None:
            _check_fields(self.config, data)
        mixer = self.config.mixer(self.seed)
        epoch, step = epoch_and_step(self.count[...], self.config.steps_per_epoch)
        plan = mixer.draw(data, step, epoch)
        self.count[...] += 1
        return mixer.apply(data, plan if valid is None else _spared(plan, valid))


def _seed(stream: Any) -> int:
    """Stream key + (number of earlier draws << 128), so that two stages on one stream differ."""
    words = np.asarray(jax.random.key_data(stream.key[...])).ravel()
    return int.from_bytes(words.astype(">u4").tobytes()) + (int(stream.count[...]) << 128)


def _check_fields(config: BatchMixOperatorConfig, data: Any) -> None:
    """Say what a field that does not fit is called here, in the words of Datarax' own arguments."""
    shape = getattr(data.get(config.data_field), "shape", config.layout)
    if len(shape) != len(config.layout):
        raise mix_error(
            "BatchMixOperator", f"{config.data_field!r} has shape {shape} and layout "
            f"{config.layout!r}.", "A layout has one letter per axis.",
            "Pass layout='NC' for a table [B, D], 'NHWC' for images, 'NTHWC' for videos.",
        )  # fmt: skip
    labels = config.label_field
    if labels is not None and labels not in data and config.data_field in data:
        raise mix_error(
            "BatchMixOperator", f"{labels!r} is not in the batch, which has {list(data)}.",
            "Labels are mixed as the data are.",
            "Pass label_field=<its name>, or label_field=None where there are no labels.",
        )  # fmt: skip


def _spared(plan: bm.Plan, valid: Any) -> bm.Plan:
    """The plan, with rows left alone that are padding or have a partner that is."""
    mixed = valid
    for layer in (plan, *plan.above):
        mixed = mixed & valid[layer.partner]
    columns = plan.columns()
    alone = {"opacity": 0, "seen": 0, "lam": 1, "label_lam": 1}
    for name, column in columns.items():
        if name.partition(".")[0] in alone:
            columns[name] = jnp.where(mixed, column, alone[name.partition(".")[0]])
    return bm.Plan.unchecked(**plan.form, **columns)
