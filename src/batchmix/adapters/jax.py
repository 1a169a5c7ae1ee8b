"""Plans in JAX programs: as arguments of transformations, drawn inside them, on sharded batches.

Importing this module makes `Plan` a pytree: its arrays are the leaves, axes and size are static. So
a jitted step that takes a plan is traced once for all plans of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec, reshard

import batchmix as bm
from batchmix.extend import backend_of, mix_error

__all__ = ["draw", "within_shards"]


def draw(
    policy: bm.policies.Policy | None,
    key: bm.Key,
    batch: int,
    size: Mapping[str, int],
    *,
    pairing: bm.pairing.Pairing = bm.pairing.Derangement(),  # noqa: B008  an immutable value
) -> bm.Plan:
    """`batchmix.draw` from inside a compiled program, by a callback to the host.

    It is the plan that `batchmix.draw` makes of the same key. If you write the loop around the step
    yourself, draw there and pass the plan instead: then the device never waits for the host.

    Args:
      policy: how much is pasted and where.
      key: address of the plan; each part is an integer >= 0 of Python, NumPy or JAX, traced or not.
      batch: number of rows, static.
      size: cells per spatial axis, static.
      pairing: who is whose partner.

    Returns:
      A `Plan` of JAX arrays.

    Raises:
      MixError: while tracing, as `batchmix.draw`. While running, inside JAX's own error: a key
        below 0, or a policy that draws a mask, a source or label_lam for some keys only, as a
        compiled program has a fixed set of arrays.

    Example:
      >>> import jax, batchmix as bm
      >>> from batchmix.adapters.jax import draw
      >>> policy = bm.policies.CutMix()
      >>> lam = jax.jit(lambda step: draw(policy, bm.Key(0, 0, step), 4, {"T": 8}).lam)
      >>> (lam(3) == bm.draw(policy, bm.Key(0, 0, 3), 4, {"T": 8}).lam).all().item()
      True

    Differs from: Datarax, Keras and big_vision draw on the device, with a stream that no other
    framework can repeat.
    """

    def make(seed: int, epoch: int, step: int, rank: int, rows: int) -> bm.Plan:
        at = bm.Key(seed, epoch, step, rank)
        return bm.draw(policy, at, rows, size, pairing=pairing)

    like = jax.numpy.zeros(())
    plan = backend_of(like, "draw()").drawn(make, bm.Key(*key), batch, like)
    on_device: bm.Plan = jax.tree.map(jax.numpy.asarray, plan)
    return on_device


def within_shards(mixing: Callable[..., Any], mesh: Any, axis: str) -> Callable[..., Any]:
    """`mixing(plan, *arrays)` on each shard of the batch by itself: devices exchange nothing.

    Args:
      mixing: callable (plan, *arrays) -> array or pytree of arrays, all [B, ...]. It is given one
        shard of each array, and a plan for these rows.
      mesh: `jax.sharding.Mesh`, its axes Auto or Explicit.
      axis: the axis of the mesh that the batch is split over. On an Explicit mesh it is the only
        one: JAX gathers arrays that are split over another axis as well.

    Returns:
      Callable (plan, *arrays), for whole batches, inside `jax.jit` or not. The plan is drawn with
      ``pairing=Within(groups=mesh.shape[axis])``.

    Raises:
      MixError: at the call, if B is no multiple of the shards, or a partner lies in another one.
        Of a traced plan partners are unknown: rows with such a partner then hold NaN (the largest
        number of unsigned, the least of signed integers).

    Example:
      >>> import jax, numpy as np, batchmix as bm
      >>> from batchmix.adapters.jax import within_shards
      >>> mesh = jax.make_mesh((1,), ("data",))
      >>> plan = bm.draw(bm.policies.MixUp(), bm.Key(0), 4, {}, pairing=bm.pairing.Within(1))
      >>> x = jax.numpy.arange(4.0)[:, None]
      >>> mix = within_shards(lambda plan, x: bm.mix(x, plan, "NC"), mesh, "data")
      >>> bool(abs(mix(plan, x) - bm.mix(x, plan, "NC")).max() < 1e-6)
      True

    Differs from: big_vision mixes on each device with one lam and the neighbour of each row;
    Datarax gathers the batch on every device.
    """
    shards, rows = mesh.shape[axis], PartitionSpec(axis)
    explicit = dict(zip(mesh.axis_names, mesh.axis_types))[axis] is AxisType.Explicit

    def on_shard(plan: bm.Plan, *arrays: Any) -> Any:
        """`mixing` with partners counted from the start of the shard."""
        start = jax.lax.axis_index(axis) * len(plan)
        columns = {
            name: column - start if name.startswith("partner") else column
            for name, column in plan.columns().items()
        }
        return mixing(bm.Plan.unchecked(**plan.form, **columns), *arrays)

    split = jax.shard_map(
        on_shard, mesh=mesh, in_specs=rows, out_specs=rows, axis_names=frozenset([axis])
    )

    def in_parts(plan: bm.Plan, *arrays: Any) -> Any:
        """On an Explicit mesh arrays must have the sharding that `split` expects."""
        whole = (plan, *arrays)
        return split(*(reshard(whole, NamedSharding(mesh, rows)) if explicit else whole))

    jitted = jax.jit(in_parts)

    def mixed(plan: bm.Plan, *arrays: Any) -> Any:
        _check_partners(plan, shards)
        return jitted(plan, *arrays)

    return mixed


def _check_partners(plan: bm.Plan, shards: int) -> None:
    """Shards have one size, and every partner lies in the shard of its row."""
    if len(plan) % shards:
        raise mix_error(
            "within_shards()", f"the plan has {len(plan)} rows for {shards} shards.",
            "Shards have one size.", "Choose a batch that is a multiple of the shards.",
        )  # fmt: skip
    if isinstance(plan.partner, jax.core.Tracer):
        return
    each = len(plan) // shards
    for partner in (np.asarray(layer.partner) for layer in plan.layers):
        away = np.flatnonzero(partner // max(each, 1) != np.arange(len(plan)) // max(each, 1))
        if not len(away):
            continue
        row = int(away[0])
        raise mix_error(
            "within_shards()",
            f"the partner of row {row} is row {partner[row]}, outside of its shard of {each} rows.",
            "No row is read from another device.", f"Draw with pairing=Within(groups={shards}).",
        )  # fmt: skip


def _flatten(plan: bm.Plan) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
    columns = plan.columns()
    named = [(jax.tree_util.GetAttrKey(name), column) for name, column in columns.items()]
    return named, (tuple(plan.form.items()), tuple(columns))


def _unflatten(static: tuple[Any, ...], columns: Any) -> bm.Plan:
    """Unchecked, as JAX puts tracers and other objects in place of the arrays."""
    form, names = static
    return bm.Plan.unchecked(**dict(form), **dict(zip(names, columns)))


jax.tree_util.register_pytree_with_keys(bm.Plan, _flatten, _unflatten)
