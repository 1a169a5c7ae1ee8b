"""Several pastes as one plan, and what is seen of each: methods of `Plan`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchmix._columns import COLUMNS
from batchmix._errors import mix_error
from batchmix._weights import Layer, executed, seen

if TYPE_CHECKING:
    from batchmix._plan import Plan

_PARTS = ("axes", "size", "others")  # that layers have in common


def weights(plan: Plan) -> NDArray[np.float32]:
    r"""float32 [B, K + 1]: share of a row's own content, then of each layer's partner.

    .. math:: w_k = \mathrm{mean}\big(a_k \textstyle\prod_{m > k} (1 - a_m)\big),
              \quad \textstyle\sum_k w_k = 1

    by the painter's rule. ``weights[:, 0]`` is `lam`. Counted from the edges of the boxes, and cell
    by cell where there are masks.

    Example:
      >>> import batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 2]]] * 2, [1, 1], axes="T", size=(4,))
      >>> plan.then(bm.Plan([1, 0], [[[1, 4]]] * 2, [1, 1], "T", (4,))).weights.tolist()
      [[0.0, 0.25, 0.75], [0.0, 0.25, 0.75]]
    """
    check_known("Plan.weights", plan)
    if not plan.above:
        return np.stack([plan.lam, 1 - plan.lam], -1)
    columns: list[Any] = [plan.lam, *(layer.seen for layer in (plan, *plan.above))]
    return np.stack(columns, -1)


def label_weights(plan: Plan) -> NDArray[np.float32]:
    r"""float32 [B, K + 1]: `weights`, but for layers with a `label_lam`.

    Such a layer leaves the share `label_lam` of the label to what lies below it.
    """
    found = weights(plan)
    layers = (plan, *plan.above)
    if not plan.above and plan.label_lam is not None:
        return np.stack([plan.label_lam, 1 - plan.label_lam], -1)
    if all(layer.label_lam is None for layer in layers):
        return found
    below = found.cumsum(1, dtype=np.float64)
    label = np.empty_like(found)
    left = np.ones(len(found))
    for k in range(len(layers), 0, -1):
        whole = np.where(below[:, k] > 0, below[:, k], 1)
        kept = np.where(below[:, k] > 0, below[:, k - 1] / whole, 1)
        given = layers[k - 1].label_lam
        if given is not None:
            kept = np.where(np.isnan(given), kept, given)
        label[:, k] = left * (1 - kept)
        left = left * kept
    label[:, 0] = left
    return label


def then(plan: Plan, above: Plan) -> Plan:
    """Paste `above` over the result of this plan; its partners are rows of the batch as given.

    .. math:: x'' = (1 - b) x' + b\\, x_{q}

    with :math:`x'` what this plan makes of :math:`x`, and :math:`b, q` opacity and partner of
    `above`. Labels count what is still seen of each. Mixing twice, ``mix(mix(x, p), q)``, is
    something else: there the second partner is a mixed row, and labels are wrong where it covers
    the first.

    Raises:
      MixError: another number of rows, another grid, or another way of stretching.

    Example:
      >>> import batchmix as bm
      >>> a = bm.Plan([1, 2, 0], [[[0, 4]]] * 3, [0.5] * 3, axes="T", size=(4,))
      >>> b = bm.Plan([2, 0, 1], [[[0, 2]]] * 3, [1] * 3, axes="T", size=(4,))
      >>> a.then(b).weights[0].tolist()
      [0.25, 0.25, 0.5]
    """
    _check(plan, above)
    return joined([*plan.layers, *above.layers])


def joined(
    layers: Sequence[Plan], found: NDArray[np.float64] | None = None, told: Sequence[Any] = ()
) -> Plan:
    """Plans of one layer as one; `found` is what is seen, `told` the `label_lam` of policies."""
    plan = layers[0]
    if len(layers) == 1:
        return plan
    _check_resample(layers)
    found = seen(_cover(layers), plan.size) if found is None else found
    shares = found.astype(np.float32)
    stretching = [layer.resample for layer in layers if layer.source is not None]
    columns: dict[str, Any] = {}
    for k, layer in enumerate(layers):
        end = f".{k + 1}" if k else ""
        own = layer.columns() | {"seen": shares[:, k + 1].copy()}
        if layer.label_lam is not None:  # where it is by area, that of what is seen here
            by_area = layer.label_lam == layer.lam
            if told:  # a share that policies say may be that of the area by chance
                by_area &= np.isnan(told[k])
            own["label_lam"] = np.where(by_area, np.float32(np.nan), layer.label_lam)
        columns |= {name + end: column for name, column in own.items()}
    columns["lam"] = shares[:, 0].copy()
    form = plan.form | {"resample": (*stretching, plan.resample)[0]}
    return type(plan).unchecked(**form, **columns)


def relabel(plan: Plan, scores: Any) -> Plan:
    r"""The same pixels, with labels by the share of `scores` inside of each paste.

    .. math:: w_k = \frac{\sum_c a_k \prod_{m > k} (1 - a_m)\, s_c}{\sum_c s_c}

    Args:
      scores: floats [B, *grid] >= 0 of the mixed rows, such as attention, on a grid of at most
        `size` cells, of which each cell takes the nearest; anything that NumPy makes an array of.
        Scores of the rows as they were: mix them first, ``bm.mix(scores, plan.at(grid), "NHW")``.

    Returns:
      A plan whose layers have a `label_lam`.

    Raises:
      MixError: another shape; scores that are negative, not finite, or all 0 in a row.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> plan = bm.Plan([1, 0], [[[0, 2]]] * 2, [1, 1], axes="T", size=(4,))
      >>> plan.relabel(np.array([[3.0, 1.0], [1.0, 1.0]])).label_lam.tolist()
      [0.25, 0.5]

    Differs from: OpenMixup's TokenMix exchanges the two weights; here they are those of the pixels.

    Source: Chen et al., TransMix, 2022, eq. 4, https://arxiv.org/abs/2111.09833; scores of the rows
    as they were: Liu et al., TokenMix, 2022, section 3.2, https://arxiv.org/abs/2207.08409
    """
    check_known("Plan.relabel()", plan)
    found = seen(_cover(plan.layers), plan.size, _checked_scores(scores, plan))
    below = found.cumsum(1)
    columns = plan.columns()
    for k in range(len(plan.above) + 1):
        whole = np.where(below[:, k + 1] > 0, below[:, k + 1], 1)
        kept = np.where(below[:, k + 1] > 0, below[:, k] / whole, 1).clip(0, 1)
        columns[f"label_lam.{k + 1}" if k else "label_lam"] = kept.astype(np.float32)
    return type(plan).unchecked(**plan.form, **columns)


def loaded(cls: type[Plan], layers: Sequence[dict[str, Any]]) -> Plan:
    """The plan of the arguments of its layers, as they were saved."""
    plan = reduce(then, [cls(**one) for one in layers])
    if len(layers) == 1:
        return plan
    columns = plan.columns()
    for k, one in enumerate(layers):
        if "label_lam" in one:
            columns[f"label_lam.{k + 1}" if k else "label_lam"] = one["label_lam"]
    return cls.unchecked(**plan.form, **columns)


def alone(layer: Plan) -> Plan:
    """One layer of a plan as a plan of its own; without `lam` where there are no values yet."""
    columns = {name: v for name, v in vars(layer).items() if name in COLUMNS and v is not None}
    del columns["seen"]
    if isinstance(layer.opacity, np.ndarray):
        columns["opacity"] = layer.opacity.copy()
        columns |= executed(columns, layer.size, own=layer.others is None)
    else:
        del columns["lam"]
    return type(layer).unchecked(**layer.form, **columns)


def _cover(layers: Sequence[Plan]) -> list[Layer]:
    return [Layer(layer.box, layer.opacity, layer.mask) for layer in layers]


def _check(plan: Plan, above: Plan) -> None:
    """Layers have rows, grid and partners in common, and one way of stretching."""
    if not isinstance(above, type(plan)):
        raise mix_error(
            "Plan.then()", f"got a {type(above).__name__}.", "It is another plan.",
            "Draw one: bm.draw(policy, Key(seed, epoch, step), batch, size).",
        )  # fmt: skip
    for one in (plan, above):
        check_known("Plan.then()", one)
    mine, other = ([len(one)] + [vars(one)[name] for name in _PARTS] for one in (plan, above))
    if mine != other:
        raise mix_error(
            "Plan.then()", f"the plans have (rows, axes, size, others) {mine} and {other}.",
            "Layers lie over each other, cell by cell, and take partners from one batch.",
            "Draw both for the same batch and size.",
        )  # fmt: skip


def check_known(where: str, plan: Plan) -> None:
    """Values that can be counted: NumPy's, and not those of a function that is traced."""
    if not isinstance(plan.partner, np.ndarray):
        raise mix_error(
            where, "the plan has no values on the host, as in a function that is traced.",
            "What is seen of each row is counted on the host.",
            "Call it outside of the compiled function, and pass the result.",
        )  # fmt: skip


def _check_resample(layers: Sequence[Plan]) -> None:
    """One way of stretching."""
    if len({one.resample for one in layers if one.source is not None}) > 1:
        raise mix_error(
            "Plan.then()", "one plan stretches by the nearest cell, the other bilinearly.",
            "The layers of a plan stretch in one way.", "Give both the same `resample`.",
        )  # fmt: skip


def _checked_scores(scores: Any, plan: Plan) -> NDArray[np.float64]:
    """Shares of each row, on a grid that is no finer than that of the plan."""
    where = "Plan.relabel()"
    try:
        found = np.asarray(scores, np.float64)
    except (TypeError, ValueError, NotImplementedError) as problem:
        raise mix_error(
            where, f"`scores` is a {type(scores).__name__} ({str(problem).splitlines()[0]}).",
            "It is an array that lies on the host.", "Pass scores.detach().cpu().numpy().",
        ) from None  # fmt: skip
    grid = found.shape[1:]
    fits = len(grid) == len(plan.size) and all(0 < n <= m for n, m in zip(grid, plan.size))
    if found.shape[:1] != (len(plan),) or not fits:
        raise mix_error(
            where, f"`scores` has shape {found.shape}; the plan has {len(plan)} rows and size "
            f"{dict(zip(plan.axes, plan.size))}.",
            "They are [B, *grid], on each axis at most as many as there are cells.",
            "Average heads and layers, and shape tokens as a grid: scores.reshape(B, 14, 14).",
        )  # fmt: skip
    total = found.sum(tuple(range(1, found.ndim)))
    if not ((found >= 0).all() and np.isfinite(total).all() and (total > 0).all()):
        raise mix_error(
            where, "scores are negative, not finite, or all 0 in a row.",
            "Labels are shares of their sum.", "Pass for example softmax attention.",
        )  # fmt: skip
    return found
