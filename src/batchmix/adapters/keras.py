"""Keras 3: mixing as a layer for the data pipeline, on each of its backends."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

import batchmix as bm
from batchmix.extend import mix_error
from batchmix.fields import Field, Ids, Image, Labels
from batchmix.pairing import Derangement, Pairing
from batchmix.policies import Policy

__all__ = ["BatchMix"]

_LAYOUTS = {
    "channels_last": {4: "NHWC", 5: "NTHWC"},
    "channels_first": {4: "NCHW", 5: "NCTHW"},
}


@keras.saving.register_keras_serializable(package="batchmix")
class BatchMix(keras.layers.Layer):  # type: ignore[misc]
    """Mix a batch of images with its labels and masks, before the model sees it.

    Call it on what a `PyDataset` returns, or in `Dataset.map` of tf.data with any Keras backend. It
    cannot be part of a model, which does not pass labels through its layers. It has no weights, and
    keeps the dtypes of the data, whatever the dtype policy.

    Args:
      policy: how much is pasted and where; None mixes nothing (labels still become soft).
      classes: C; may be left out for labels [B, C].
      pairing: who is whose partner.
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      seed: of the run.
      rank: of this process.
      data_format: "channels_last" or "channels_first"; left out, Keras' configured one.
      fields: for batches of another form, as for `batchmix.Mixer`; `classes`, `smoothing` and
        `data_format` then have no effect.
      kwargs: as for any layer, such as `name`.

    Example:
      >>> import numpy as np
      >>> from batchmix.policies import MixUp
      >>> mix = BatchMix(MixUp(0.2), classes=10, seed=0)
      >>> x, y = mix((np.zeros((4, 8, 8, 3), "uint8"), np.array([1, 2, 3, 4])))
      >>> x.dtype, y.shape
      (dtype('uint8'), (4, 10))

    Differs from: in `keras.layers.MixUp` and `CutMix` the label of a box differs from its pixels
    (0.03 on average at 16 x 16), masks change their shape and ids are averaged, 8-bit images become
    float32, integer labels and mixed_bfloat16 fail on TensorFlow, XLA cannot compile them, and a
    parallel `map` gives another mix in each run.
    """

    def __init__(
        self,
        policy: Policy | None,
        classes: int | None = None,
        *,
        pairing: Pairing = Derangement(),  # noqa: B008  an immutable value
        smoothing: float = 0.0,
        seed: int = 0,
        rank: int = 0,
        data_format: str | None = None,
        fields: Mapping[Any, Field] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in _LAYOUTS:
            raise mix_error(
                "BatchMix", f"got data_format={data_format!r}.", f"It is one of {list(_LAYOUTS)}.",
                "Leave it out to use Keras' configured one.",
            )  # fmt: skip
        self.labels = Labels(classes, smoothing)
        self.mixer = bm.Mixer(policy, fields or {}, pairing=pairing, seed=seed, rank=rank)
        self.fields_given = fields is not None
        self.built = True

    def __call__(
        self, data: Any, training: bool = True, *, step: Any = None, epoch: Any = None,
        other: Any = None,
    ) -> Any:  # fmt: skip
        """A mixed copy of `data`.

        Args:
          data: (images, labels), or a dict with "images" and any of "labels" and
            "segmentation_masks"; other entries are kept.
          training: False mixes nothing. Labels have the same form as in training, float32
            [B, C], but without smoothing.
          step: number of the batch in its epoch, such as the index that `PyDataset.__getitem__` or
            `Dataset.enumerate` gives, a tensor in a graph of TensorFlow. Left out, the layer counts
            its calls; a graph cannot count.
          epoch: number of the pass over the data; left out, the one that `mixer.set_epoch` set.
          other: a second batch of the same form, to take the partners from.

        Raises:
          MixError: data in another form, labels or masks that do not fit, no step inside a graph.
        """
        # not Layer.__call__, which would convert the data to the backend's tensors and dtypes
        return self.call(data, training, step=step, epoch=epoch, other=other)

    def call(
        self, data: Any, training: bool = True, *, step: Any = None, epoch: Any = None,
        other: Any = None,
    ) -> Any:  # fmt: skip
        fields = self.mixer.fields if self.fields_given else self._fields(data)
        if training in (True, None):  # Keras passes None where nobody said
            self.mixer.fields = fields
            return self.mixer(data, step, epoch, other=other)
        hard = {
            path: dataclasses.replace(field, smoothing=0.0)
            for path, field in fields.items()
            if isinstance(field, Labels)
        }
        return bm.Mixer(None, hard)(data, step=0) if hard else data

    def get_config(self) -> dict[str, Any]:
        """All arguments as plain values: dataclasses by the name of their class."""
        mixer = self.mixer
        return {
            **super().get_config(),
            "policy": _encoded(mixer.policy),
            "classes": self.labels.classes,
            "pairing": _encoded(mixer.pairing),
            "smoothing": self.labels.smoothing,
            "seed": mixer.seed,
            "rank": mixer.rank,
            "data_format": self.data_format,
            "fields": _encoded(mixer.fields) if self.fields_given else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BatchMix:
        """A layer with the arguments that `get_config` returned."""
        coded = {name: _decoded(config.get(name)) for name in ("policy", "pairing", "fields")}
        layer: BatchMix = super().from_config({**config, **coded})
        return layer

    def _fields(self, data: Any) -> dict[Any, Field]:
        """The fields of a batch, by the names that Keras gives its parts."""
        if isinstance(data, Mapping) and "images" in data and "bounding_boxes" not in data:
            layout = self._layout(data["images"])
            fields: dict[Any, Field] = {"images": Image(layout)}
            if "labels" in data:
                fields["labels"] = self.labels
            if "segmentation_masks" in data:
                same = len(data["segmentation_masks"].shape) == len(layout)
                fields["segmentation_masks"] = Ids(layout if same else layout.replace("C", ""))
            return fields
        if isinstance(data, tuple | list) and len(data) == 2:
            return {0: Image(self._layout(data[0])), 1: self.labels}
        got = list(data) if isinstance(data, Mapping) else type(data).__name__
        if isinstance(data, tuple | list):
            got = f"{got} of {len(data)}"
        raise mix_error(
            "BatchMix", f"got a batch {got}.",
            "It mixes (images, labels), or a dict with 'images', 'labels' and "
            "'segmentation_masks'; bounding boxes and weights would no longer match.",
            "Name the parts of another batch: BatchMix(policy, fields={...}).",
        )  # fmt: skip

    def _layout(self, images: Any) -> str:
        """Layout of a batch of images or videos."""
        if isinstance(images, keras.KerasTensor):
            raise mix_error(
                "BatchMix", "it was called while a model is built.",
                "It mixes images and labels together, before the model.",
                "Call it in the data pipeline: data.enumerate().map(lambda i, b: mix(b, step=i)).",
            )  # fmt: skip
        shape = getattr(images, "shape", ())
        rank = getattr(shape, "rank", -1)  # TensorFlow's; None where it is unknown
        layout = _LAYOUTS[self.data_format].get(len(shape) if rank == -1 else rank)
        if layout is None:
            raise mix_error(
                "BatchMix", f"images have shape {shape}.",
                "They come as batches, [B, H, W, C] or [B, T, H, W, C] by `data_format`.",
                "Batch the data first, or name its parts: BatchMix(policy, fields={...}).",
            )  # fmt: skip
        return layout


def _encoded(value: Any) -> Any:
    """Dataclasses, dicts and sequences as values that JSON can hold."""
    if dataclasses.is_dataclass(value):
        of_batchmix = _known().get(type(value).__name__) is type(value)
        name = keras.saving.get_registered_name(type(value))
        given = [f.name for f in dataclasses.fields(value) if f.init]
        return {
            "class": type(value).__name__ if of_batchmix else name,
            "fields": {name: _encoded(getattr(value, name)) for name in given},
        }
    if isinstance(value, Mapping):
        return {"items": [[_encoded(k), _encoded(v)] for k, v in value.items()]}
    if isinstance(value, tuple | list):
        return [_encoded(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise _unknown(type(value).__name__)


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(v) for v in value)
    if not isinstance(value, dict):
        return value
    if "items" in value:
        return {_decoded(k): _decoded(v) for k, v in value["items"]}
    cls = _known().get(value["class"]) or keras.saving.get_registered_object(value["class"])
    if cls is None:
        raise _unknown(value["class"])
    return cls(**{name: _decoded(v) for name, v in value["fields"].items()})


def _known() -> dict[str, Any]:
    """batchmix's own classes, which need not be registered with Keras."""
    return {
        name: getattr(m, name) for m in (bm.policies, bm.pairing, bm.fields) for name in m.__all__
    }


def _unknown(name: str) -> bm.MixError:
    return mix_error(
        "BatchMix", f"its configuration holds {name!r}.",
        "Policies, pairings and fields are stored by class and arguments, without pickle.",
        f"Make it a dataclass, and known: keras.saving.get_custom_objects()[{name!r}] = <class>.",
    )  # fmt: skip
