"""Keras 3: mixing as a layer for the data pipeline, on each of its backends."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import keras

import batchmix as bm
from batchmix.adapters._keras_fit import MixDataset, TellEpoch
from batchmix.extend import mix_error, mixer_of
from batchmix.fields import Field, Ids, Image, Labels
from batchmix.policies import Policy

__all__ = ["MixDataset", "MixLayer", "TellEpoch"]

_LAYOUTS = {
    "channels_last": {4: "NHWC", 5: "NTHWC"},
    "channels_first": {4: "NCHW", 5: "NCTHW"},
}
# what a layer is stored with need not be registered with Keras
_NAMED = {
    name: getattr(m, name) for m in (bm.policies, bm.pairing, bm.fields) for name in m.__all__
}
_OURS: dict[str, Any] = {"Mixer": bm.Mixer}
_OURS |= {name: cls for name, cls in _NAMED.items() if dataclasses.is_dataclass(cls)}


@keras.saving.register_keras_serializable(package="batchmix")
class MixLayer(keras.layers.Layer):  # type: ignore[misc]
    """Mix a batch of images with its labels and masks, before the model sees it.

    Give it to a `MixDataset`, to `batchmix.adapters.tensorflow.MixBatches`, or call it. It cannot
    be part of a model, which does not pass labels through its layers. It has no weights, and keeps
    the dtypes of the data, whatever the dtype policy.

    Args:
      given: a policy; None mixes nothing (labels still become soft). Or a `batchmix.Mixer` with
        fields, for batches of another form.
      classes: C; may be left out for labels [B, C].
      smoothing: share of the label that is spread over all classes, 0 <= s < 1.
      data_format: "channels_last" or "channels_first"; left out, Keras' configured one.
      options: of the Mixer, where a policy is given: `pairing`, `seed`, `rank`, `axes`. And those
        of any layer, such as `name`.

    Raises:
      MixError: an unknown `data_format`, or options beside a Mixer with fields.

    Example:
      >>> import numpy as np
      >>> from batchmix.policies import MixUp
      >>> mix = MixLayer(MixUp(0.2), classes=10, seed=0)
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
        given: Policy | bm.Mixer | None,
        classes: int | None = None,
        *,
        smoothing: float = 0.0,
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        of_mixer = {n: options.pop(n) for n in ("pairing", "seed", "rank", "axes") if n in options}
        super().__init__(**{"autocast": False, **options})
        mixer, self.named = mixer_of("MixLayer", given, names="images and labels", **of_mixer)
        if self.named and (classes or smoothing or data_format):
            raise mix_error(
                "MixLayer", "got a Mixer with fields, and classes, smoothing or data_format.",
                "Its fields say what is mixed.", "Give them to Labels and Image of the Mixer.",
            )  # fmt: skip
        self.mixer = mixer.but()  # which counts for this layer alone
        self.labels = Labels(classes, smoothing)
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in _LAYOUTS:
            raise mix_error(
                "MixLayer", f"got data_format={data_format!r}.", f"It is one of {list(_LAYOUTS)}.",
                "Leave it out to use Keras' configured one.",
            )  # fmt: skip
        self.built = True

    def call(
        self, data: Any, training: bool = True, *, step: Any = None, epoch: Any = None,
        other: Any = None,
    ) -> Any:  # fmt: skip
        """A mixed copy of `data`.

        Args:
          data: (images, labels), or a dict with "images" and any of "labels" and
            "segmentation_masks"; other entries are kept. With a Mixer, what its fields say.
          training: False mixes nothing. Labels have the same form as in training, float32
            [B, C], but without smoothing.
          step: number of the batch in its epoch, such as the index that `PyDataset.__getitem__`
            has. Left out, the layer counts its calls; a graph cannot count.
          epoch: number of the pass over the data; left out, the one that `set_epoch` told. A graph
            must be given it, with the step.
          other: a second batch of the same form, to take the partners from.

        Raises:
          MixError: data in another form, labels or masks that do not fit, no step inside a graph.
        """
        fields = self.mixer.fields if self.named else self._fields(data)
        if training in (True, None):  # Keras passes None where nobody said
            self.mixer.fields = fields
            return self.mixer(data, step, epoch, other=other)
        hard = {
            path: dataclasses.replace(field, smoothing=0.0)
            for path, field in fields.items()
            if isinstance(field, Labels)
        }
        return bm.Mixer(None, hard)(data, step=0) if hard else data

    # not Layer.__call__, which would convert the data to the backend's tensors and dtypes
    __call__ = call

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, an integer >= 0."""
        self.mixer.set_epoch(epoch)

    def get_config(self) -> dict[str, Any]:
        """All arguments as plain values, without pickle."""
        own = {
            "classes": self.labels.classes,
            "smoothing": self.labels.smoothing,
            "data_format": self.data_format,
        }
        mixer = self.mixer if self.named else self.mixer.but(fields={})
        return {**super().get_config(), "given": _stored(mixer), **({} if self.named else own)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MixLayer:
        """A layer with the arguments that `get_config` returned."""
        layer: MixLayer = super().from_config({**config, "given": _restored(config["given"])})
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
            "MixLayer", f"got a batch {got}.",
            "It mixes (images, labels), or a dict with 'images', 'labels' and "
            "'segmentation_masks'; bounding boxes and weights would no longer match.",
            "Name the parts of another batch: MixLayer(Mixer(policy, {...})).",
        )  # fmt: skip

    def _layout(self, images: Any) -> str:
        """Layout of a batch of images or videos."""
        if isinstance(images, keras.KerasTensor):
            raise mix_error(
                "MixLayer", "it was called while a model is built.",
                "It mixes images and labels together, before the model.",
                "Give it to MixDataset or MixBatches, or call it on a batch.",
            )  # fmt: skip
        shape = getattr(images, "shape", ())
        rank = getattr(shape, "rank", -1)  # TensorFlow's; None where it is unknown
        layout = _LAYOUTS[self.data_format].get(len(shape) if rank == -1 else rank)
        if layout is None:
            raise mix_error(
                "MixLayer", f"images have shape {shape}.",
                "They come as batches, [B, H, W, C] or [B, T, H, W, C] by `data_format`.",
                "Batch the data first, or name its parts: MixLayer(Mixer(policy, {...})).",
            )  # fmt: skip
        return layout


def _stored(value: Any) -> Any:
    """Plain values: what has arguments by its class and these, without pickle."""
    if isinstance(value, Mapping):
        return {"items": [[_stored(k), _stored(v)] for k, v in value.items()]}
    if isinstance(value, tuple | list):
        return [_stored(v) for v in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    cls = type(value)
    if not (dataclasses.is_dataclass(cls) or cls is bm.Mixer):
        raise _unknown(cls.__name__)
    ours = _OURS.get(cls.__name__) is cls
    return {
        "class": cls.__name__ if ours else keras.saving.get_registered_name(cls),
        "given": {n: _stored(getattr(value, n)) for n in inspect.signature(cls).parameters},
    }


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_restored, value))
    if not isinstance(value, dict):
        return value
    if "items" in value:
        return {_restored(k): _restored(v) for k, v in value["items"]}
    cls = _OURS.get(value["class"]) or keras.saving.get_registered_object(value["class"])
    if cls is None:
        raise _unknown(value["class"])
    return cls(**{name: _restored(v) for name, v in value["given"].items()})


def _unknown(name: str) -> bm.MixError:
    return mix_error(
        "MixLayer", f"its configuration holds {name!r}.",
        "Policies, pairings and fields are stored by class and arguments, without pickle.",
        f"Make it a dataclass, and known: keras.saving.get_custom_objects()[{name!r}] = <class>.",
    )  # fmt: skip
