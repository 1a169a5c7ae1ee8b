"""ReMix: labels of the rarer class, where the classes of a pair are far from equally frequent."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchmix._classes import class_ids
from batchmix._columns import LATTICE
from batchmix._errors import mix_error
from batchmix._numbers import is_number
from batchmix._weights import executed
from batchmix.policies._paste import Paste, Policy, Request, check_policy, layers_of, reads_of


@dataclass(frozen=True)
class ReMix:
    r"""Mix as `policy` does, and give the whole label to a class that is much rarer than the other.

    .. math:: \lambda_y = \begin{cases}
        0 & n_i / n_p \ge \kappa \text{ and } \lambda < \tau \\
        1 & n_i / n_p \le 1 / \kappa \text{ and } 1 - \lambda < \tau \\
        \lambda & \text{else} \end{cases}

    with :math:`n_i, n_p` the counts of the classes of row and partner in the data, and
    :math:`\lambda` the share that is really left of the row.

    Reads: "label", ids [B], or [B, C], where the largest counts.

    Args:
      policy: of one layer.
      counts: rows of each class in the training data, > 0.
      kappa: how many times as frequent a class has to be, > 1.
      tau: below which share the frequent class gives its label up, 0..1.

    Raises:
      MixError: a parameter out of range; at the draw, a label without a count.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> policy = ReMix(bm.policies.MixUp(1.0), counts=[900, 100])
      >>> plan = bm.draw(policy, bm.Key(0), 2, {}, pairing=bm.pairing.Reverse(),
      ...                hints={"label": np.array([0, 1])})
      >>> bool((plan.label_lam[0] == 0) == (plan.lam[0] < 0.5))
      True

    Differs from: in the paper lam is the drawn one; here, with any policy, the executed one.

    Source: Chou et al., Remix: Rebalanced Mixup, 2020, https://arxiv.org/abs/2007.03943
    """

    policy: Policy
    counts: Sequence[float]
    kappa: float = 3.0
    tau: float = 0.5

    def __repr__(self) -> str:
        counts = reprlib.repr(self.counts)  # a thousand classes are not told one by one
        return f"ReMix({self.policy!r}, counts={counts}, kappa={self.kappa}, tau={self.tau})"

    def __post_init__(self) -> None:
        check_policy("ReMix", self.policy)
        if layers_of(self.policy) > 1:
            raise mix_error(
                "ReMix", f"got the policy {self.policy!r}.", "It is for one paste on a row.",
                "Put each layer into a ReMix of its own: Layers([ReMix(...), ...]).",
            )  # fmt: skip
        try:
            counts = np.asarray(self.counts, float)
        except (TypeError, ValueError):
            counts = np.zeros(0)
        if not (counts.ndim == 1 and counts.size and (counts > 0).all() and counts.max() < np.inf):
            raise mix_error(
                "ReMix", f"got counts={reprlib.repr(self.counts)}.",
                "They are the number of rows of each class in the training data, > 0.",
                "Pass for example np.bincount(labels).",
            )  # fmt: skip
        object.__setattr__(self, "counts", tuple(counts.tolist()))
        numbers = is_number(self.kappa) and is_number(self.tau)
        if not (numbers and 1 < self.kappa < np.inf and 0 <= self.tau <= 1):
            raise mix_error(
                "ReMix", f"got kappa={self.kappa!r} and tau={self.tau!r}.",
                "kappa is a ratio of counts, > 1; tau a share, 0..1.",
                "The paper's are kappa=3 and tau=0.5.",
            )  # fmt: skip

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*reads_of(self.policy), "label")))

    def sample(self, request: Request) -> Paste:
        """The policy's draw, with `label_lam` where the rule gives all to one of the two."""
        drawn = self.policy.sample(request)
        opacity = np.rint(np.asarray(drawn.opacity, float) * LATTICE) / LATTICE
        columns = drawn.columns() | {"partner": request.partner, "opacity": opacity}
        del columns["kind"]
        lam = executed(columns, tuple(request.size.values()), own=False)["lam"].astype(float)
        mine = self._counts(request.hints["label"])
        theirs = self._counts(request.theirs["label"])[request.partner]
        label = np.full(len(lam), np.nan) if drawn.label_lam is None else drawn.label_lam
        label = np.where((mine >= self.kappa * theirs) & (lam < self.tau), 0, label)
        label = np.where((theirs >= self.kappa * mine) & (1 - lam < self.tau), 1, label)
        return replace(drawn, label_lam=label)

    def _counts(self, label: NDArray[Any]) -> NDArray[np.float64]:
        """How many rows the class of each row has."""
        ids = class_ids("ReMix", label)
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self.counts):
            raise mix_error(
                "ReMix", f"labels lie in {ids.min()}..{ids.max()}, and there are "
                f"{len(self.counts)} counts.", "Each class has a count.",
                "Give as many counts as there are classes.",
            )  # fmt: skip
        return np.asarray(self.counts)[ids]
