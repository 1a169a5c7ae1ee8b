"""Plans that lie on a device, for steps that are captured as a CUDA graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import batchmix as bm
from batchmix.extend import mix_error

__all__ = ["PlanBuffer"]


class PlanBuffer:
    """Room on a device for plans of one form: a captured step reads what was filled in last.

    A CUDA graph repeats what was captured, with the same arguments. So it is captured with `plan`,
    whose columns are tensors, and each replay follows a `fill`, which is one copy out of pinned
    memory, queued behind what runs. `plan` is for all verbs and fields that read no values on the
    host; run the step once before it is captured.

    Args:
      plan: one like those that will be filled in: as many rows, the same axes, size and columns.
        Whatever a policy draws for one batch size is alike.
      device: where the batches are.

    Raises:
      MixError: no plan; one of another form.

    Example:
      >>> import torch
      >>> drawn = [bm.draw(bm.policies.CutMix(), bm.Key(0, 0, k), 4, {"T": 8}) for k in range(2)]
      >>> buffer = PlanBuffer(drawn[0], "cpu")
      >>> x = torch.rand(4, 8)
      >>> buffer.fill(drawn[1])
      >>> torch.equal(bm.mix(x, buffer.plan, "NT"), bm.mix(x, drawn[1], "NT"))
      True

    Differs from: other libraries draw on the host in the step, which a graph repeats unchanged.
    """

    def __init__(self, plan: bm.Plan, device: Any) -> None:
        columns = _columns(plan)
        self._form, self._spans = plan.form, _spans(columns)
        total = max((end for _, end in self._spans.values()), default=0)
        self._held = _room(total, device)
        views = {name: self._view(self._held, name, value) for name, value in columns.items()}
        if not self._held.is_cuda:  # the host reads arrays of its own
            views = {name: view.numpy() for name, view in views.items()}
        self.plan = bm.Plan.unchecked(**plan.form, **views)
        self._like = {name: (value.dtype, value.shape) for name, value in columns.items()}
        self.fill(plan)

    def fill(self, plan: bm.Plan) -> None:
        """Put another plan in the place of the one before, for what is queued from now on."""
        columns = _columns(plan)
        like = {name: (value.dtype, value.shape) for name, value in columns.items()}
        if like != self._like or plan.form != self._form:
            raise mix_error(
                "PlanBuffer.fill()", f"the plan is {plan!r} with {_told(like)}.",
                f"The buffer is for {self.plan!r} with {_told(self._like)}.",
                "Make another buffer, and capture the step with that.",
            )  # fmt: skip
        # pinned memory of its own each time: PyTorch keeps it until it was read
        staged = torch.empty(len(self._held), dtype=torch.uint8, pin_memory=self._held.is_cuda)
        for name, value in columns.items():
            self._view(staged, name, value).numpy()[...] = value
        self._held.copy_(staged, non_blocking=True)

    def _view(self, memory: Any, name: str, like: Any) -> Any:
        start, end = self._spans[name]
        dtype = torch.from_numpy(np.empty(0, like.dtype)).dtype
        return memory[start:end].view(dtype).view(like.shape)


def _room(size: int, device: Any) -> Any:
    """Bytes on a GPU, or on the host."""
    try:
        held = torch.empty(size, dtype=torch.uint8, device=device)
        problem = "that is neither"
    except (RuntimeError, AssertionError, TypeError) as refused:
        held, problem = None, str(refused).splitlines()[0]
    if held is None or held.device.type not in ("cpu", "cuda"):
        raise mix_error(
            "PlanBuffer", f"got device={device!r} ({problem}).",
            "It is a GPU that PyTorch sees, or the host.", 'Pass "cuda", "cuda:1" or x.device.',
        )  # fmt: skip
    return held


def _columns(plan: Any) -> Mapping[str, Any]:
    if isinstance(plan, bm.Plan) and isinstance(plan.partner, np.ndarray):
        return plan.columns()
    raise mix_error(
        "PlanBuffer", f"got {plan!r}.", "It holds a plan that was drawn on the host.",
        "Pass what batchmix.draw or Mixer.plan returns.",
    )  # fmt: skip


def _spans(columns: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Bytes of each column, aligned for any dtype."""
    spans, start = {}, 0
    for name, value in columns.items():
        size = value.dtype.itemsize * math.prod(value.shape)
        spans[name] = (start, start + size)
        start += -(-size // 16) * 16
    return spans


def _told(like: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in like.items())
