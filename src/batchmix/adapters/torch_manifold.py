"""PyTorch: mixing what a layer of a network puts out, in one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

import batchmix as bm
from batchmix.extend import mix_error

__all__ = ["MixedAt", "mixed_at"]

_WHERE = "mixed_at()"


class MixedAt:
    """What `mixed_at` did; `plan` is there once the layer has run."""

    def __init__(self) -> None:
        self._plan: bm.Plan | None = None

    @property
    def plan(self) -> bm.Plan:
        """The plan that was executed, on the grid of the features: that of the labels."""
        if self._plan is None:
            raise mix_error(
                _WHERE, "the layer has not run in this context.",
                "Its output is mixed by a hook of its forward pass.",
                "Run the model in the context: a layer that it calls itself, and no compiled copy "
                "of it (torch.compile passes hooks over that are set later).",
            )  # fmt: skip
        return self._plan


@contextmanager
def mixed_at(module: nn.Module, plan: bm.Plan, layout: str = "NCHW") -> Iterator[MixedAt]:
    r"""Mix the output of `module` in the one forward pass that is run in this context.

    .. math:: h'_i = (1 - a_i) h_i + a_i h_{p(i)}, \quad h = f_k(x)

    Boxes are moved to the grid of the features, ``plan.at(...)``, and labels are those of the plan
    there: read `plan` of what the context gives. Gradients flow to both rows. The hook is taken off
    when the context ends, however it ends.

    Args:
      module: a part of the network that puts out one tensor. Nothing else of it is changed.
      plan: of this number of rows, drawn for any size. Without axes (``size={}``), or with a layout
        that has none of the plan's, whole rows are blended by their weights.
      layout: of that output: "NCHW" of a convolution, "NC" of a vector, "NTC" of tokens.

    Raises:
      MixError: the layer runs twice or not at all in the context, or is recomputed in backward; its
        output is no tensor, has another number of rows (a part of a batch, as `nn.DataParallel`
        hands out), or other axes.

    Example:
      >>> import torch
      >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
      >>> plan = bm.draw(bm.policies.CutMix(), bm.Key(0), 6, {"H": 8, "W": 8})
      >>> with mixed_at(net[1], plan) as mixed:
      ...     logits = net(torch.rand(6, 3, 8, 8))
      >>> mixed.plan.size, bm.mix_labels(torch.arange(6), mixed.plan, 10).shape
      ((4, 4), torch.Size([6, 10]))

    Differs from: the authors' code and OpenMixup need a model that is written for it, and blend
    whole rows only.

    Source: Verma et al., Manifold Mixup, 2019, section 2, https://arxiv.org/abs/1806.05236
    """
    if not isinstance(module, nn.Module) or not isinstance(plan, bm.Plan):
        raise mix_error(
            _WHERE, f"got a {type(module).__name__} and a {type(plan).__name__}.",
            "It mixes the output of a layer by a plan.", "Pass for example (model.layer2, plan).",
        )  # fmt: skip
    mixed, gradients = MixedAt(), torch.is_grad_enabled()

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # else each plan compiles anew
    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if mixed._plan is not None:
            raise mix_error(
                _WHERE, f"the {type(module).__name__} ran a second time in one context.",
                "One plan mixes one pass: mixed twice, features would fit no labels.",
                "Open a context for each pass, and take a layer that the model uses once and that "
                "is not recomputed in backward (torch.utils.checkpoint).",
            )  # fmt: skip
        if gradients and not torch.is_grad_enabled():
            raise mix_error(
                _WHERE, "gradients are on where the context begins, and off where the layer runs.",
                "A reentrant torch.utils.checkpoint recomputes it in backward, without the mixing.",
                "Take a layer that is not recomputed; where no gradients are wanted, open "
                "torch.no_grad() first.",
            )  # fmt: skip
        found = _on_grid(module, plan, layout, output)
        result = bm.mix(output, found, layout)
        mixed._plan = found
        return result

    handle = module.register_forward_hook(hook)
    try:
        yield mixed
    finally:
        handle.remove()
    mixed.plan  # noqa: B018  a context in which nothing was mixed is an error


def _on_grid(module: nn.Module, plan: bm.Plan, layout: str, output: Any) -> bm.Plan:
    """The plan at the size of the features."""
    name = type(module).__name__
    if not isinstance(output, torch.Tensor):
        raise mix_error(
            _WHERE, f"the {name} puts out a {type(output).__name__}.", "One tensor is mixed.",
            "Take a layer within it, or the one before.",
        )  # fmt: skip
    shape = tuple(output.shape)
    if not isinstance(layout, str) or len(layout) != len(shape):
        raise mix_error(
            _WHERE, f"the {name} puts out shape {shape}; layout is {layout!r}.",
            "It has one letter per axis, rows first.", "Pass for example layout='NC'.",
        )  # fmt: skip
    if shape[0] != len(plan):
        raise mix_error(
            _WHERE, f"the {name} puts out {shape[0]} rows; the plan has {len(plan)}.",
            "Partners are rows of the same pass.",
            "Draw for the rows of each pass; nn.DataParallel splits them: use "
            "DistributedDataParallel.",
        )  # fmt: skip
    size = {axis: n for axis, n in zip(layout, shape) if axis in plan.axes}
    return plan.at(size) if plan.axes else plan
