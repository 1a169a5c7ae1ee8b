"""TensorFlow beyond the contract that all frameworks share: graphs, XLA, unknown sizes, losses.

The contract itself: BATCHMIX_TEST_BACKENDS=tensorflow with tests/test_mix.py and its neighbours.
"""

import dataclasses
import doctest
import functools
import importlib

import numpy as np
import pytest
import tensorflow as tf

import batchmix as bm
import batchmix.adapters.tensorflow  # plans become arguments of tf.function
from batchmix import losses, metrics
from batchmix.fields import Image, Labels, Mask
from batchmix.policies import CutMix, MixUp, Switch

B, H, W, C = 6, 8, 6, 5
SWITCH = Switch([MixUp(1.0), CutMix()])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (B, H, W, 3)).astype(np.uint8)
IDS = RNG.integers(0, C, B)
FIELDS = {0: Image("NHWC"), 1: Labels(C)}


def plan_of(step=0, batch=B, **columns):
    """A plan for the images."""
    return bm.draw(SWITCH, bm.Key(1, 0, step), batch, {"H": H, "W": W}, **columns)


def masked_plan():
    """With every column that a plan may have."""
    drawn = plan_of()
    return bm.Plan(
        drawn.partner, drawn.box[:, ::-1], drawn.opacity, "WH", (W, H),
        mask=RNG.choice([0, 0.25, 1], (B, W, H)), source=[[[0, W], [0, H]]] * B,
        label_lam=[0.5] * B,
    )  # fmt: skip


@pytest.mark.parametrize("xla", [False, True])
def test_one_trace_for_many_plans(xla):
    traces = []

    @tf.function(jit_compile=xla)
    def step(x, y, plan):
        traces.append(1)
        return bm.mix(x, plan, "NHWC"), bm.mix_labels(y, plan, C), bm.pairs(y, plan)[2]

    for k in range(5):
        plan = plan_of(k)
        x, soft, lam = step(tf.constant(IMAGES), tf.constant(IDS), plan)
        np.testing.assert_array_equal(x.numpy(), bm.mix(IMAGES, plan, "NHWC"))
        np.testing.assert_allclose(soft, bm.mix_labels(IDS, plan, C), rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(lam, plan.lam)
    assert len(traces) == 1


def test_a_plan_goes_through_nest_unchanged():
    plan = masked_plan()
    columns = tf.nest.flatten(plan)
    again = tf.nest.pack_sequence_as(plan, columns)
    assert (again.axes, again.size) == (plan.axes, plan.size)
    for name in ("partner", "box", "opacity", "mask", "source", "lam", "label_lam"):
        np.testing.assert_array_equal(getattr(again, name), getattr(plan, name))
    assert again.kind is None
    assert isinstance(tf.nest.map_structure(tf.constant, plan).box, tf.Tensor)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("ids", [False, True])
def test_masks_and_sources_in_a_graph(xla, ids):
    """With axes in another order than those of the layout, and plans as arguments."""
    field = bm.fields.Ids("NHWC") if ids else bm.fields.Grid("NHWC")
    plan, x = masked_plan(), IMAGES.astype(np.int64 if ids else np.float32)
    got = tf.function(lambda x, plan: field(x, plan), jit_compile=xla)(x, plan)
    np.testing.assert_allclose(got, field(x, plan), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8"])
def test_dtypes_in_a_graph_of_any_batch_size(dtype):
    spec = [tf.TensorSpec([None, H, W, 3], dtype), tf.TensorSpec([], tf.int64)]
    mixer = bm.Mixer(SWITCH, FIELDS, seed=1)

    @tf.function(input_signature=spec)
    def step(x, k):
        return mixer((x, tf.zeros(tf.shape(x)[:1], tf.int32)), step=k, epoch=0 * k)

    x = tf.cast(IMAGES, dtype)
    for rows in (0, 1, 4, B):
        images, soft = step(x[:rows], 3)
        assert (images.dtype, soft.dtype) == (x.dtype, tf.float32)
        assert soft.shape == (rows, C)
        want = bm.mix(x[:rows], plan_of(3, rows), "NHWC")
        np.testing.assert_array_equal(images.numpy(), want.numpy())
    spec = step.get_concrete_function().structured_outputs
    assert [s.shape.as_list() for s in spec] == [[None, H, W, 3], [None, C]]


def test_masks_in_a_graph_of_any_batch_size():
    fields = {"x": Image("NHWC"), "m": Mask("NHW")}
    mixer = bm.Mixer(SWITCH, fields, seed=1)
    spec = {
        "x": tf.TensorSpec([None, H, W, 3], tf.uint8),
        "m": tf.TensorSpec([None, H, W], tf.int32),
    }
    step = tf.function(lambda b: mixer(b, step=2), input_signature=[spec])
    masks = IMAGES[..., 0].astype(np.int32)
    got = step({"x": IMAGES, "m": masks})
    np.testing.assert_array_equal(got["m"], bm.fields.Ids("NHW")(masks, plan_of(2)))


def test_wrong_sizes_are_seen_before_or_when_the_graph_runs():
    plan = plan_of()
    known = tf.function(lambda x: bm.mix(x, plan, "NHWC"))
    with pytest.raises(bm.MixError, match="6 rows"):
        known(IMAGES[:4])
    with pytest.raises(bm.MixError, match="plan was drawn for size"):
        known(IMAGES[:, 1:])
    open_rows = tf.function(known, input_signature=[tf.TensorSpec([None, H, W, 3], tf.uint8)])
    assert open_rows(IMAGES).shape == IMAGES.shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="other rows than the plan"):
        open_rows(IMAGES[:1])  # would be repeated by broadcasting
    both = tf.function(
        lambda x, o: bm.mix(x, plan, "NHWC", other=o),
        input_signature=[tf.TensorSpec([None, H, W, 3], tf.uint8)] * 2,
    )
    assert both(IMAGES, np.concatenate([IMAGES, IMAGES])).shape == IMAGES.shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="other has too few rows"):
        both(IMAGES, IMAGES[:1])


@pytest.mark.parametrize(
    ("shape", "match"),
    [([None, None, W, 3], "'H' of known size"), (None, r"ensure_shape")],
)
def test_sizes_that_must_be_known(shape, match):
    mixer = bm.Mixer(SWITCH, {0: Image("NHWC")})
    spec = [tf.TensorSpec(shape, tf.uint8)]
    with pytest.raises(bm.MixError, match=match):
        tf.function(lambda x: mixer((x,), step=0), input_signature=spec).get_concrete_function()


def test_a_traced_function_cannot_count():
    """Its count would be read once, and every call repeat one mix."""
    mixer = bm.Mixer(SWITCH, FIELDS)
    with pytest.raises(bm.MixError, match=r"mixer\.apply\(batch, plan\)"):
        tf.function(lambda x, y: mixer((x, y)))(IMAGES, IDS)
    assert mixer.step == 0


def test_eager_steps_may_be_tensors():
    mixer = bm.Mixer(SWITCH, FIELDS, seed=1)
    batch = tf.constant(IMAGES), tf.constant(IDS)
    images, _ = mixer(batch, step=tf.constant(3, tf.int64), epoch=tf.constant(0))
    np.testing.assert_array_equal(images.numpy(), bm.mix(IMAGES, plan_of(3), "NHWC"))


def test_plans_of_one_graph_have_the_same_columns():
    class Changing:
        """Masks at every second step."""

        def sample(self, request):
            paste = MixUp(1.0).sample(request)
            shape = (len(request.partner), *request.size.values())
            masked = dataclasses.replace(paste, mask=np.ones(shape))
            return masked if request.key.step % 2 else paste

    mixer = bm.Mixer(Changing(), FIELDS)
    step = tf.function(lambda k: mixer((tf.constant(IMAGES), tf.constant(IDS)), k, 0 * k)[0])
    assert step(tf.constant(0)).shape == IMAGES.shape
    with pytest.raises(tf.errors.InvalidArgumentError, match="room for one kind"):
        step(tf.constant(1))


def test_ids_out_of_range_in_a_graph():
    """A failing graph; NaN under XLA, which leaves assertions out."""
    plan, bad = plan_of(), np.array([0, 1, 2, 99, 4, 0])
    labels = tf.function(lambda y: bm.mix_labels(y, plan, C))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"ids are 0\.\.4"):
        labels(tf.constant(bad))
    compiled = tf.function(lambda y: bm.mix_labels(y, plan, C), jit_compile=True)
    rows = (bad == 99) | (bad[plan.partner] == 99)
    np.testing.assert_array_equal(np.isnan(compiled(tf.constant(bad))).any(1), rows)


def test_ids_may_be_strings():
    names = np.array([[b"a"] * 4, [b"b"] * 4])
    plan = bm.Plan([1, 0], [[[0, 1]], [[0, 0]]], [1, 1], "T", (4,))
    assert bm.fields.Ids("NT")(tf.constant(names), plan).numpy()[0].tolist() == [b"b", *[b"a"] * 3]


def test_the_formula_is_compiled():
    """By XLA, into one pass: one call in the graph, and none of the formula's operations."""
    plan = plan_of()
    graph = tf.function(lambda x: bm.mix(x, plan, "NHWC")).get_concrete_function(IMAGES).graph
    (call,) = [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]
    assert call.get_attr("_XlaMustCompile")
    assert not {op.type for op in graph.get_operations()} & {"GatherV2", "SelectV2", "Mul"}


def test_out_is_refused():
    x = tf.constant(IMAGES)
    with pytest.raises(bm.MixError, match="Arrays of JAX and TensorFlow never are"):
        bm.mix(x, plan_of(), "NHWC", out=x)


def test_gradient_of_the_mix():
    x, plan = tf.constant(IMAGES, tf.float32), plan_of()
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(bm.mix(x, plan, "NHWC"))
    want = plan.lam.astype(np.float64)
    np.add.at(want, plan.partner, 1 - plan.lam)
    gradient = tape.gradient(total, x)
    np.testing.assert_allclose(tf.reduce_mean(gradient, [1, 2, 3]), want, rtol=1e-5)


LOGITS = RNG.standard_normal((B, C)) * 3
SOFT = bm.mix_labels(IDS, plan_of(), C)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_losses(dtype, compiled):
    logits, soft = tf.cast(LOGITS, dtype), tf.constant(SOFT)
    exact = tf.cast(logits, tf.float64).numpy()
    way = tf.function if compiled else (lambda f: f)
    got = way(losses.soft_cross_entropy)(logits, soft)
    np.testing.assert_allclose(got, losses.soft_cross_entropy(exact, SOFT), rtol=1e-5)
    keras_loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    np.testing.assert_allclose(got, keras_loss(soft, tf.cast(logits, tf.float32)), rtol=1e-5)
    for threshold in (None, 0.2):
        binary = functools.partial(losses.soft_binary_cross_entropy, threshold=threshold)
        got = way(lambda z, binary=binary: binary(z, soft))(logits)
        want = binary(exact, SOFT)
        np.testing.assert_allclose(got, want, rtol=1e-5)

    def squared(z, y):
        return (z - tf.cast(y, z.dtype)[:, None]) ** 2

    plan = plan_of()
    got = way(lambda z: losses.pairwise(squared, z, bm.pairs(tf.constant(IDS), plan)))(logits)
    want = losses.pairwise(lambda z, y: (z - y[:, None]) ** 2, exact, bm.pairs(IDS, plan))
    np.testing.assert_allclose(got, want, rtol=0.02 if dtype == "bfloat16" else 1e-5)


def test_losses_have_gradients():
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.soft_cross_entropy(logits, tf.constant(SOFT))
    want = (tf.nn.softmax(logits) - SOFT) / B
    np.testing.assert_allclose(tape.gradient(loss, logits), want, rtol=1e-6)


def test_metrics_are_those_of_numpy():
    logits, y, plan = tf.constant(LOGITS), tf.constant(IDS), plan_of()
    for metric in (metrics.accuracy, metrics.nll, metrics.brier, metrics.ece):
        assert metric(logits, y) == pytest.approx(metric(LOGITS, IDS))
    pairs = bm.pairs(y, plan)
    assert metrics.mixed_accuracy(logits, pairs) == metrics.mixed_accuracy(
        LOGITS, bm.pairs(IDS, plan)
    )
    assert metrics.fit_temperature(logits, y) == metrics.fit_temperature(LOGITS, IDS)


@pytest.mark.parametrize("name", ["tensorflow", "keras", "_keras_fit"])
def test_examples_of_the_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"batchmix.adapters.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
