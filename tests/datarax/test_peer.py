"""What Datarax' own tests ask of the operator, asked of ours; what is refused instead, and how."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from datarax.core.element_batch import Batch, Element
from datarax.pipeline import Pipeline
from datarax.sources import MemorySource, MemorySourceConfig
from flax import nnx

import batchmix as bm
from batchmix.adapters.datarax import BatchMixOperator, BatchMixOperatorConfig
from batchmix.fields import Features

TABLE = {"data_field": "value", "label_field": None, "layout": "NC"}
IMAGES = {"label_field": None}


def operator(seed=42, **settings):
    return BatchMixOperator(BatchMixOperatorConfig(**settings), rngs=nnx.Rngs(batch_mix=seed))


def batch_of(**columns):
    """A Batch of Elements, row by row."""
    rows = zip(*columns.values(), strict=True)
    return Batch([Element(data=dict(zip(columns, map(jnp.asarray, row)))) for row in rows])


def values(op, *numbers):
    """What becomes of a table of one column."""
    return np.asarray(op(batch_of(value=[[float(n)] for n in numbers])).get_data()["value"])


@pytest.mark.parametrize("mode", ["mixup", "cutmix"])
def test_the_arguments_are_kept(mode):
    given = {"alpha": 0.5, "stream_name": "mine", "data_field": "pixels", "label_field": "targets"}
    config = BatchMixOperatorConfig(mode=mode, **given)
    assert {name: getattr(config, name) for name in given} == given
    plain = BatchMixOperatorConfig(mode=mode)
    assert (plain.mode, plain.alpha, plain.stochastic) == (mode, 1.0, True)
    assert plain.stream_name == "batch_mix"
    assert operator(mode=mode).config == plain


@pytest.mark.parametrize("settings", [{"mode": "invalid"}, {"alpha": 0.0}, {"alpha": -1.0}])
def test_arguments_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        BatchMixOperatorConfig(**settings)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 10.0])
def test_mixed_values_lie_between_the_rows(alpha):
    mixed = values(operator(alpha=alpha, **TABLE), 0, 10, 20, 30)
    assert ((mixed >= 0) & (mixed <= 30)).all()
    assert (mixed[:, 0] != [0, 10, 20, 30]).any()


def test_several_fields_follow_one_plan():
    op = operator(fields={"x": Features("NC"), "y": Features("NC")})
    mixed = op(batch_of(x=[[0.0], [10.0]], y=[[100.0], [0.0]])).get_data()
    np.testing.assert_allclose(mixed["y"], 100 - 10 * np.asarray(mixed["x"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "shape"), [({"layout": "NC"}, (4, 2)), ({"mode": "cutmix"}, (4, 8, 8, 3))]
)
def test_the_way_of_a_pipeline(settings, shape):
    """With the positions of the records, and without."""
    data = {"image": jnp.ones(shape), "label": jnp.eye(4)}
    for more in ((), (None, jnp.arange(4))):
        mixed, states = operator(**settings)._apply_on_raw(data, {}, *more)
        assert states == {}
        assert jax.tree.map(jnp.shape, mixed) == jax.tree.map(jnp.shape, data)
    source = MemorySource(MemorySourceConfig(), data)
    step = Pipeline(source=source, stages=[operator(**settings)], batch_size=4, rngs=nnx.Rngs(0))
    assert step.step()["image"].shape == shape


@pytest.mark.parametrize("mode", ["mixup", "cutmix"])
def test_a_row_alone_stays_as_it_is(mode):
    image = np.full((1, 32, 32, 3), 0.5, np.float32)
    mixed = operator(mode=mode, **IMAGES)(batch_of(image=image)).get_data()["image"]
    np.testing.assert_array_equal(mixed, image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_cut_pastes_whole_cells(channels):
    images = np.zeros((2, 32, 32, channels), np.float32)
    images[0] = 1
    labels = [[1.0], [0.0]]  # one probability a row
    mixed = operator(mode="cutmix")(batch_of(image=images, label=labels)).get_data()
    assert mixed["image"].shape == images.shape
    assert set(np.unique(mixed["image"])) == {0, 1}
    share = np.asarray(mixed["image"]).mean((1, 2, 3))
    np.testing.assert_allclose(np.asarray(mixed["label"])[:, 0], share, atol=1e-6)


def test_seeds_differ_and_repeat():
    drawn = [float(values(operator(seed, **TABLE), 0, 100)[0, 0]) for seed in range(8)]
    assert len(set(drawn)) > 1
    assert drawn[3] == values(operator(3, **TABLE), 0, 100)[0, 0]


@pytest.mark.parametrize("settings", [TABLE, {"mode": "cutmix", **IMAGES}])
def test_under_jit(settings):
    name, shape = ("value", (2, 1)) if settings is TABLE else ("image", (2, 32, 32, 3))
    columns = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}
    call = nnx.jit(lambda op, batch: op(batch))
    got = [
        call(operator(seed, **settings), batch_of(**columns)).get_data()[name] for seed in (0, 1)
    ]
    np.testing.assert_allclose(
        got[0], operator(0, **settings)(batch_of(**columns)).get_data()[name], rtol=1e-6
    )
    assert not np.array_equal(*got)


def test_gradients_reach_the_rows():
    def total(value):
        op = operator(data_field="value", label_field=None, layout="NC")
        return op._apply_on_raw({"value": value}, {})[0]["value"].sum()

    grad = np.asarray(jax.grad(total)(jnp.array([[1.0], [3.0]])))
    assert np.isfinite(grad).all()
    np.testing.assert_allclose(grad.sum(), 2, rtol=1e-6)


# where Datarax leaves the batch as it is in silence, or takes what is there


@pytest.mark.parametrize(
    ("settings", "columns", "message"),
    [
        ({"mode": "cutmix"}, {"value": [[1.0], [2.0]]}, "'image' is not in the batch"),
        ({}, {"image": np.ones((2, 4, 4, 3))}, r"(?s)'label' is not in.*label_field=None"),
        (IMAGES, {"image": [[1.0, 2.0]] * 2}, r"(?s)shape \(2, 2\).*layout='NC' for a table"),
        ({"mode": "cutmix", **TABLE}, {"value": [[1.0], [2.0]]}, "no axes"),
    ],
)
def test_what_is_refused_by_name(settings, columns, message):
    with pytest.raises(bm.MixError, match=message):
        operator(**settings)(batch_of(**columns))


def test_a_second_call_is_the_next_batch():
    """Datarax' own keys a direct call by its first record; this stage counts."""
    op = operator(**TABLE)
    assert values(op, 0, 100)[0, 0] != values(op, 0, 100)[0, 0]
