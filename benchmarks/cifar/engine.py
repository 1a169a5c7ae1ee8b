"""A model and its optimizer on the device, and one step of training; on a GPU as a CUDA graph."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import SGD

from batchmix.losses import soft_cross_entropy
from cifar.data import Rows
from cifar.models import build, whitening
from cifar.recipes import Recipe

Tensor = Any
State = dict[str, Any]
_ROWS = 2000  # of a batch that is predicted


class Engine:
    """Made once for a recipe, and loaded with the state of each run.

    What a step reads and writes keeps its place in memory, so that one graph serves every run. Only
    the mixing is outside of it.
    """

    def __init__(
        self,
        recipe: Recipe,
        shape: tuple[int, ...],
        classes: int,
        device: torch.device,
        *,
        compiled: bool = False,
        graphed: bool = True,
    ) -> None:
        self.recipe, self.classes, self.device = recipe, classes, device
        self.cuda = device.type == "cuda"
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.model = build(recipe.net, classes).to(device, memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if compiled else self.model
        self.lr = torch.zeros((), device=device)
        self.weights = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = SGD(
            self.weights,
            lr=self.lr,
            momentum=recipe.momentum,
            nesterov=True,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        for p in self.weights:  # there from the start: the first step is as every other
            self.optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        self.total = torch.zeros((), device=device)  # of the losses of an epoch
        batch = (recipe.batch, *shape)
        layout = torch.channels_last
        self.x = torch.zeros(batch, device=device, dtype=self.dtype).to(memory_format=layout)
        self.target = torch.full((recipe.batch, classes), 1 / classes, device=device)
        self.graph = self._captured() if graphed and self.cuda else None

    def initial(self, seed: int, rows: Rows) -> State:
        """The state of a run that begins: the same weights on every machine."""
        torch.manual_seed(seed)
        fresh = build(self.recipe.net, self.classes)
        if self.recipe.net == "whitened":
            with torch.no_grad():
                fresh.whiten.weight.copy_(whitening(rows.x))
        return {
            "model": fresh.state_dict(),
            "momentum": [torch.zeros_like(p) for p in self.weights],
        }

    def load(self, state: State) -> None:
        """Into the memory that is there already."""
        own = self.state()
        assert own["model"].keys() == state["model"].keys()
        with torch.no_grad():
            for name, value in state["model"].items():
                own["model"][name].copy_(value)
            for value, buffer in zip(state["momentum"], own["momentum"], strict=True):
                buffer.copy_(value)

    def state(self) -> State:
        """All that decides what the next step does, as it is on the device."""
        momentum = [self.optimizer.state[p]["momentum_buffer"] for p in self.weights]
        return {"model": self.model.state_dict(), "momentum": momentum}

    def digest(self) -> str:
        """Of the weights: equal for runs that are equal bit for bit."""
        return _digest(self.model.state_dict())

    def step(self, x: Tensor, target: Tensor, lr: float) -> None:
        """One step on a batch that is mixed already."""
        self.lr.fill_(lr)
        if self.graph is None:
            self._step(x, target)
        else:
            self.x.copy_(x)
            self.target.copy_(target)
            self.graph.replay()

    def logits(self, x: Tensor) -> NDArray[np.float32]:
        """Of all rows, in order."""
        self.model.eval()
        with torch.no_grad(), self._precision():
            parts = [self.model(x[k : k + _ROWS]).float() for k in range(0, len(x), _ROWS)]
        self.model.train()
        found: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return found

    def _step(self, x: Tensor, target: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            logits = self.forward(x)
        loss = soft_cross_entropy(logits.float(), target)
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()

    def _precision(self) -> Any:
        # each weight is read once a step: a cache of casts saves nothing, and disturbs the graph
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.cuda, cache_enabled=False
        )

    def _captured(self) -> Any:
        """The graph of a step; None where capture fails, which is said, and kept with the runs."""
        try:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):  # libraries choose their kernels, which a capture cannot
                    self._step(self.x, self.target)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._step(self.x, self.target)
        except RuntimeError as problem:
            print(f"no CUDA graph: {str(problem).partition(chr(10))[0]}", file=sys.stderr)
            return None
        return graph


def _digest(tensors: Mapping[str, Tensor]) -> str:
    parts = [tensor.cpu().contiguous().numpy().tobytes() for tensor in tensors.values()]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
