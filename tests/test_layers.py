"""Plans of several pastes: pixels, labels and weights by the painter's rule, in every framework."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import BoundingBoxes, Ids, Image, Labels, Mask, Targets
from batchmix.pairing import Roll
from batchmix.policies import (
    CutMix,
    Layers,
    MixUp,
    Mosaic,
    PerBatch,
    ResizeMix,
    Sometimes,
    Switch,
)

HW = {"H": 9, "W": 7}
THREE = Layers([CutMix(1.0), MixUp(1.0), CutMix(1.0, placement="inside")])


def plan_of(policy=THREE, batch=6, size=HW, seed=0, **more):
    return bm.draw(policy, bm.Key(seed), batch, size, **more)


def painted(x, plan, layout, rounded=False, other=None):
    """One layer after the other, each from the batch as it was given."""
    out = np.array(x, np.float64)
    for layer in plan.layers:
        out = oracle.mix(out, layer, layout, other=x if other is None else other)
        out = np.rint(out) if rounded else out
    return out


def counted(plan):
    """[B, K + 1]: what is left of constant rows, one number for each source of a row."""
    layers = plan.layers
    found = []
    for row in range(len(plan)):
        cell = dict(zip(plan.axes, np.indices(plan.size, sparse=True)))
        seen = np.zeros((len(layers) + 1, *plan.size))
        seen[0] = 1
        for k, layer in enumerate(layers):
            a = np.broadcast_to(oracle.alpha(layer, row, cell), plan.size)
            seen *= 1 - a
            seen[k + 1] += a
        found.append(seen.reshape(len(seen), -1).mean(1))
    return np.array(found)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pixels(xp, dtype, layout):
    shape = [6, *(dict(HW, C=3)[letter] for letter in layout[1:])]
    values = np.random.default_rng(0).integers(0, 256, shape)
    x = xp.array(values, dtype)
    plan = plan_of()
    found = xp.numpy(bm.mix(x, plan, layout))
    want = painted(values, plan, layout, rounded=dtype == "uint8")
    np.testing.assert_allclose(found, want, rtol=2e-6, atol=0 if dtype == "uint8" else 1e-4)
    if xp.writes:
        bm.mix(x, plan, layout, out=x)
        np.testing.assert_array_equal(xp.numpy(x), found)
    if xp.compiled:
        run = xp.compiled(lambda x, plan: bm.mix(x, plan, layout))
        np.testing.assert_allclose(xp.numpy(run(xp.array(values, dtype), plan)), found, rtol=2e-6)


def test_labels_are_the_shares_of_pixels(xp):
    plan = plan_of(seed=3)
    x = np.eye(6)[:, :, None, None] * np.ones((9, 7))
    pixels = xp.numpy(bm.mix(xp.array(x, "float64"), plan, "NCHW")).mean((2, 3))
    ids = xp.ids(np.arange(6))
    np.testing.assert_allclose(xp.numpy(bm.mix_labels(ids, plan, 6)), pixels, atol=1e-6)
    one_hot = xp.array(np.eye(6), "float32")
    soft = xp.numpy(bm.mix_labels(one_hot, plan, smoothing=0.1))
    np.testing.assert_allclose(soft, pixels * 0.9 + 0.1 / 6, atol=1e-6)
    labels, weights = bm.parts(ids, plan)
    dense = (xp.numpy(weights)[..., None] * np.eye(6)[xp.numpy(labels).astype(int)]).sum(1)
    np.testing.assert_allclose(dense, pixels, atol=1e-6)
    assert xp.dtype(weights) == "float32"
    targets = Targets()(xp.array(np.arange(6) ** 2, "float32"), plan)
    np.testing.assert_allclose(xp.numpy(targets), pixels @ np.arange(6) ** 2, rtol=1e-5)


def test_labels_in_a_compiled_step(xp):
    if xp.compiled is None:
        pytest.skip("no compiler of this framework in the test")
    plan = plan_of()
    run = xp.compiled(lambda y, plan: bm.mix_labels(y, plan, 6))
    np.testing.assert_allclose(
        xp.numpy(run(xp.ids(np.arange(6)), plan)), bm.mix_labels(np.arange(6), plan, 6), atol=1e-6
    )


@st.composite
def layers(draw):
    """Up to four layers of any boxes and masks on one small grid."""
    axes = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 6)) for _ in range(axes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, found = draw(st.integers(1, 4)), []
    for _ in range(draw(st.integers(1, 4))):
        ends = np.stack([np.sort(rng.integers(0, n + 1, (rows, 2)), 1) for n in size], 1)
        grid = draw(st.sampled_from(["none", "whole", "fewer"]))
        cells = size if grid == "whole" else tuple(int(rng.integers(1, n + 1)) for n in size)
        mask = rng.random((rows, *cells)).astype(np.float32)
        if draw(st.booleans()):
            mask = rng.integers(0, 256, mask.shape).astype(np.uint8)
        opacity = rng.choice([0, 0.25, 1, rng.random()], rows)
        partner = rng.integers(0, rows, rows)
        mask = None if grid == "none" else mask
        found.append(bm.Plan(partner, ends, opacity, "DHW"[:axes], size, mask=mask))
    return found


@given(layers())
@settings(max_examples=150, deadline=None)
def test_weights_are_what_is_counted(found):
    plan = found[0]
    for layer in found[1:]:
        plan = plan.then(layer)
    assert len(plan.layers) == len(found)
    np.testing.assert_allclose(plan.weights, counted(plan), atol=2e-6)
    np.testing.assert_array_equal(plan.weights[:, 0], plan.lam)
    for layer, given_ in zip(plan.layers, found):
        np.testing.assert_allclose(layer.lam, given_.lam, atol=1e-6)


def test_many_layers_of_large_grids_are_counted_by_their_edges():
    """A cell each would be 10^9 of them."""
    size = {"D": 1000, "H": 1000, "W": 1000}
    plan = plan_of(Layers([CutMix()] * 3), 2, size)
    np.testing.assert_allclose(plan.weights.sum(1), 1, atol=1e-6)
    scaled = plan.at({"D": 50, "H": 50, "W": 50})
    np.testing.assert_allclose(scaled.weights, plan.weights, atol=0.1)


def test_two_mixes_in_a_row_are_not_layers():
    """What `then` is for: the labels of the second mix cannot know what it covered."""
    x = np.eye(6)[:, :, None, None] * np.ones((9, 7))
    one, two = plan_of(CutMix(), seed=1), plan_of(CutMix(), seed=2)
    pixels = bm.mix(bm.mix(x, one, "NCHW"), two, "NCHW").mean((2, 3))
    labels = bm.mix_labels(bm.mix_labels(np.arange(6), one, 6), two)
    assert np.abs(pixels - labels).max() > 0.05
    both = one.then(two)
    pixels = bm.mix(x, both, "NCHW").mean((2, 3))
    np.testing.assert_allclose(bm.mix_labels(np.arange(6), both, 6), pixels, atol=1e-6)


def test_rows_have_another_partner_in_each_layer():
    for batch in (4, 5, 32):
        partners = np.array([layer.partner for layer in plan_of(batch=batch).layers])
        together = np.concatenate([np.arange(batch)[None], partners])
        assert all(len(set(column)) == 4 for column in together.T.tolist())
    rolled = plan_of(batch=8, pairing=Roll(1)).layers
    assert [layer.partner[0] for layer in rolled] == [7, 6, 5]
    few = [layer.partner.tolist() for layer in plan_of(batch=2).layers]
    assert few == [[1, 0]] * 3  # nobody else is there


@pytest.mark.parametrize("batch", [0, 1, 2, 3])
def test_any_number_of_rows(batch):
    plan = plan_of(batch=batch)
    x = np.random.default_rng(0).random((batch, 3, 9, 7))
    np.testing.assert_allclose(bm.mix(x, plan, "NCHW"), painted(x, plan, "NCHW"), atol=1e-12)
    assert plan.weights.shape == (batch, 4)


@pytest.mark.parametrize(
    "policy",
    [
        Switch([MixUp(1.0), THREE]), Sometimes(THREE, 0.5), PerBatch(THREE), Layers([THREE, THREE]),
        Layers([Switch([MixUp(1.0), CutMix()]), Sometimes(CutMix(), 0.5)]),
    ],
)  # fmt: skip
def test_in_other_policies(policy):
    plan = plan_of(policy, 12)
    x = np.random.default_rng(0).random((12, 3, 9, 7))
    np.testing.assert_allclose(bm.mix(x, plan, "NCHW"), painted(x, plan, "NCHW"), atol=1e-12)
    np.testing.assert_allclose(plan.weights, counted(plan), atol=2e-6)
    assert policy.layers == len(plan.layers)


def test_rows_that_a_switch_leaves_with_one_layer():
    plan = plan_of(Switch([CutMix(), Layers([CutMix(), CutMix()])]), 64)
    alone = plan.kind == 0
    assert (plan.weights[alone, 2] == 0).all()
    assert (plan.weights[~alone, 2] > 0).any()


def test_one_layer_is_what_it_was():
    plan = plan_of(Layers([CutMix()]))
    same = plan_of(CutMix())
    assert plan.columns().keys() == same.columns().keys()
    for name, column in plan.columns().items():
        np.testing.assert_array_equal(column, same.columns()[name])
    assert plan.layers == (plan,)
    np.testing.assert_array_equal(plan.weights, np.stack([plan.lam, 1 - plan.lam], 1))


def test_ids_and_bounding_boxes_follow_every_layer():
    one = bm.Plan([1, 0], [[[0, 4], [0, 8]]] * 2, [1, 1], "HW", (8, 8))
    two = bm.Plan([1, 0], [[[0, 8], [0, 2]]] * 2, [1, 1], "HW", (8, 8))
    plan = one.then(two)
    ids = np.stack([np.full((8, 8), 3), np.full((8, 8), 7)])
    found = Ids("NHW")(ids, plan)[0]
    assert (found[:4] == 7).all()
    assert (found[4:, :2] == 7).all()
    assert (found[4:, 2:] == 3).all()
    boxes = np.array([[[0, 0, 8, 8, 1]], [[1, 1, 7, 7, 2]]])
    # own: rows 4.. and columns 2.. are left; of the first paste columns 2..; of the second 1..2
    want = [[2, 4, 8, 8, 1], [2, 1, 7, 4, 2], [1, 1, 2, 7, 2]]
    assert BoundingBoxes(min_size=0)(boxes, plan)[0].tolist() == want


def test_rows_that_lie_apart(xp):
    values = np.random.default_rng(0).integers(0, 256, (6, 9, 7, 3))
    plan = plan_of()
    x = xp.array(values, "uint8")
    stacked = bm.mix_stack([x[k] for k in range(6)], plan)
    np.testing.assert_array_equal(xp.numpy(stacked), xp.numpy(bm.mix(x, plan, "NHWC")))
    numbers = {"mean": [100] * 3, "std": [50] * 3}
    made = xp.numpy(bm.mix_normalize([x[k] for k in range(6)], plan, **numbers))
    want = (painted(values, plan, "NHWC").transpose(0, 3, 1, 2) - 100) / 50
    np.testing.assert_allclose(made, want, atol=1e-5)


def test_a_saved_plan_has_its_layers(tmp_path):
    plan = plan_of(seed=4).relabel(np.ones((6, 3, 3)))
    plan.save(tmp_path / "plan.npz")
    again = bm.Plan.load(tmp_path / "plan.npz")
    assert again.columns().keys() == plan.columns().keys()
    for name, column in plan.columns().items():
        np.testing.assert_array_equal(again.columns()[name], column)


def test_on_another_grid():
    plan = plan_of(size={"H": 32, "W": 32})
    small = plan.at({"W": 8, "H": 8})
    assert (small.axes, small.size) == ("HW", (8, 8))
    np.testing.assert_allclose(small.weights, counted(small), atol=2e-6)
    assert np.abs(small.weights - plan.weights).max() < 0.2
    flat = plan.at({})
    np.testing.assert_allclose(flat.weights, plan.weights, atol=1e-6)
    x = np.eye(6)
    np.testing.assert_allclose(
        bm.mix(x, flat, "NC"), bm.mix_labels(np.arange(6), plan, 6), atol=1e-6
    )
    same = plan.at({"H": 32, "W": 32})
    np.testing.assert_array_equal(same.box, plan.box)
    for wrong in ({"T": 8}, {"H": 8}, 8, None):
        with pytest.raises(bm.MixError, match=r"^Plan.at\(\)"):
            plan.at(wrong)


def test_masks_and_sources_on_another_grid():
    mask = np.zeros((2, 8, 8), np.uint8)
    mask[:, :4] = 255
    plan = bm.Plan([1, 0], [[[0, 8], [0, 8]]] * 2, [1, 1], "HW", (8, 8), mask=mask)
    small = plan.at({"H": 4, "W": 2})
    assert small.mask.shape == (2, 4, 2)
    assert small.lam.tolist() == [0.5, 0.5]
    source = bm.Plan(
        [1, 0], [[[0, 4], [0, 4]]] * 2, [1, 1], "HW", (8, 8), source=[[[0, 8], [7, 8]]] * 2
    ).at({"H": 2, "W": 2})
    assert source.source[0].tolist() == [[0, 2], [1, 2]]
    assert source.lam.tolist() == [0.75, 0.75]


def test_labels_by_scores():
    """Scores that are alike everywhere give the shares of cells; else each cell has its score."""
    plan = plan_of(seed=5)
    assert plan.relabel(np.ones((6, 9, 7))).label_weights == pytest.approx(plan.weights, abs=1e-6)
    scores = np.random.default_rng(0).random((6, 9, 7))
    shown = np.stack([bm.mix((np.arange(6) == k)[:, None, None] * np.ones((9, 7)), plan, "NHW")
                      for k in range(6)], 1)  # fmt: skip
    want = (shown * scores[:, None]).sum((2, 3)) / scores.sum((1, 2))[:, None]
    relabelled = plan.relabel(scores)
    np.testing.assert_allclose(bm.mix_labels(np.arange(6), relabelled, 6), want, atol=1e-6)
    np.testing.assert_array_equal(relabelled.lam, plan.lam)
    one = plan_of(CutMix()).relabel(scores)
    labels, _, lam = bm.pairs(np.arange(6), one)
    np.testing.assert_array_equal(lam, one.label_lam)
    assert (labels == np.arange(6)).all()


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (np.ones((6, 9)), "shape (6, 9)"), (np.ones((5, 3, 3)), "shape (5, 3, 3)"),
        (np.ones((6, 10, 7)), "(6, 10, 7)"), (-np.ones((6, 3, 3)), "negative"),
        (np.zeros((6, 3, 3)), "all 0"), (np.full((6, 3, 3), np.nan), "not finite"), ("x", "a str"),
    ],
)  # fmt: skip
def test_scores_that_do_not_fit(scores, said):
    with pytest.raises(bm.MixError) as error:
        plan_of().relabel(scores)
    assert str(error.value).startswith("Plan.relabel()")
    assert said in str(error.value)


def test_layers_that_do_not_fit():
    plan = plan_of()
    stretched = {"source": [[[0, 9], [0, 7]]] * 6, "axes": "HW", "size": (9, 7)}
    boxes = [[[0, 4], [0, 4]]] * 6
    near, linear = (
        bm.Plan(plan.partner, boxes, np.ones(6), resample=way, **stretched)
        for way in ("nearest", "bilinear")
    )
    for other, said in (
        (plan_of(batch=5), "[5, 'HW', (9, 7), None]"), (plan_of(size={"H": 9, "W": 8}), "(9, 8)"),
        (plan_of(other=6), "None] and [6, 'HW', (9, 7), 6]"), ("x", "got a str"),
    ):  # fmt: skip
        with pytest.raises(bm.MixError) as error:
            plan.then(other)
        assert str(error.value).startswith("Plan.then()")
        assert said in str(error.value)
    with pytest.raises(bm.MixError, match="stretch in one way"):
        near.then(linear)
    assert plan.then(linear).resample == "bilinear"
    with pytest.raises(bm.MixError, match=r"parts\(y, plan\)"):
        bm.pairs(np.arange(6), plan)


def test_losses_of_many_parts(xp):
    """The sum over a row's labels, each by its weight, is the cross-entropy with the soft label."""
    plan = plan_of()
    logits = xp.array(np.random.default_rng(0).normal(size=(6, 6)), "float64")
    log = np.log(np.exp(xp.numpy(logits)) / np.exp(xp.numpy(logits)).sum(1, keepdims=True))

    def hard(z, y):
        return xp.array(-log[np.arange(6), xp.numpy(y).astype(int)], "float64")

    found = bm.losses.pairwise(hard, logits, bm.parts(xp.ids(np.arange(6)), plan))
    soft = bm.mix_labels(np.arange(6), plan, 6)
    assert float(xp.numpy(found)) == pytest.approx(float((-soft * log).sum(1).mean()), rel=1e-5)


def test_a_mixer_with_layers(xp):
    fields = {"image": Image("NCHW"), "mask": Mask("NHW"), "label": Labels(6)}
    values = np.eye(6)[:, :, None, None] * np.ones((9, 7))
    ids = np.arange(6)[:, None, None] * np.ones((9, 7), int)
    batch = {
        "image": xp.array(values, "float32"), "mask": xp.ids(ids), "label": xp.ids(np.arange(6))
    }  # fmt: skip
    mixed = bm.Mixer(THREE, fields, seed=0)(batch, step=0)
    pixels = xp.numpy(mixed["image"])
    np.testing.assert_allclose(xp.numpy(mixed["label"]), pixels.mean((2, 3)), atol=1e-6)
    # an id is that of the image with the largest share, where that is more than one half
    clear = pixels.max(1) > 0.51
    assert (xp.numpy(mixed["mask"]) == pixels.argmax(1))[clear].all()
    if xp.writes:
        again = bm.Mixer(THREE, fields, seed=0, inplace=True)(batch, step=0)
        np.testing.assert_array_equal(xp.numpy(again["image"]), pixels)
        assert again["image"] is batch["image"]


def test_metrics_of_many_parts():
    plan = plan_of()
    logits = np.random.default_rng(1).normal(size=(6, 6))
    labels, weights = bm.parts(np.arange(6), plan)
    want = (weights * (logits.argmax(1)[:, None] == labels)).sum(1).mean()
    assert bm.metrics.mixed_accuracy(logits, (labels, weights)) == pytest.approx(want)
    whole = np.where(np.arange(6)[:, None] < 2, [1, 0, 0, 0], weights)
    clean = (logits.argmax(1) == np.arange(6))[:2].mean()
    assert bm.metrics.clean_accuracy(logits, (labels, whole)) == clean
    with pytest.raises(bm.MixError, match="Each label has one weight"):
        bm.metrics.mixed_accuracy(logits, (labels, weights[:, :2]))


def test_a_plan_says_how_many_layers_it_has():
    assert "HW=9x7, 3 layers, 6 mixed" in repr(plan_of())


def test_a_plan_with_other_columns_keeps_its_layers():
    """`dataclasses.replace` makes the plan anew: what lies above is counted anew too."""
    plan = plan_of()
    half = dataclasses.replace(plan, opacity=plan.opacity / 2)
    assert len(half.layers) == 3
    np.testing.assert_allclose(half.weights, counted(half), atol=2e-6)
    first, *above = plan.layers
    again = dataclasses.replace(first, above=above)
    np.testing.assert_array_equal(again.weights, plan.weights)
    with pytest.raises(bm.MixError, match=r"Plan.then\(\): the plans have"):
        dataclasses.replace(first, above=[plan_of(batch=5)])


def test_scores_may_say_what_the_area_says():
    """A label that happens to be that of the area alone is not counted by area again."""
    one = bm.Plan([1, 2, 0], [[[0, 2]]] * 3, [1] * 3, axes="T", size=(4,))
    two = bm.Plan([2, 0, 1], [[[0, 1]]] * 3, [1] * 3, axes="T", size=(4,))
    scores = [[7, 1, 0.5, 0.5]] * 3
    plan = one.then(two).relabel(scores)
    np.testing.assert_allclose(plan.label_weights[0], [1 / 9, 1 / 9, 7 / 9], atol=1e-6)
    for policy in (Layers([CutMix()] * 2), Layers([CutMix(), MixUp(1.0)])):
        plan = plan_of(policy, 64, {"H": 4, "W": 4})
        coarse = np.random.default_rng(0).integers(0, 2, (64, 2, 2)).astype(float)
        coarse[:, 0, 0] = 1
        shown = np.stack([bm.mix((np.arange(64) == k)[:, None, None] * np.ones((4, 4)), plan, "NHW")
                          for k in range(64)], 1)  # fmt: skip
        fine = coarse.repeat(2, 1).repeat(2, 2)
        want = (shown * fine[:, None]).sum((2, 3)) / fine.sum((1, 2))[:, None]
        found = bm.mix_labels(np.arange(64), plan.relabel(coarse), 64)
        np.testing.assert_allclose(found, want, atol=1e-6)


def test_layers_that_nobody_said_there_are():
    class More:
        def sample(self, request):
            paste = CutMix().sample(request)
            return dataclasses.replace(paste, above=(paste,))

    for policy in (More(), Layers([More(), MixUp()])):
        with pytest.raises(bm.MixError, match="Give it `layers`"):
            plan_of(policy)


def test_layers_that_stretch_in_two_ways_are_refused_when_they_are_made():
    near, linear = ResizeMix(resample="nearest"), Mosaic(resample="bilinear")
    for make in (Layers, Switch):
        with pytest.raises(bm.MixError, match="same `resample`"):
            make([near, linear])
    with pytest.raises(bm.MixError, match="same `resample`"):
        plan_of(Layers([Sometimes(near, 1), linear]))


def test_layers_of_arrays_of_a_device():
    """Each alone has its own lam, wherever the columns are."""
    jnp = pytest.importorskip("jax.numpy")
    plan = plan_of()
    moved = bm.Plan.unchecked(**plan.form, **{k: jnp.asarray(v) for k, v in plan.columns().items()})
    assert moved.layers[0].lam is None
    np.testing.assert_array_equal(plan.layers[0].lam, 1 - (1 - plan_of(CutMix()).lam))
    for call in (
        lambda: moved.weights,
        lambda: moved.relabel(np.ones((6, 1, 1))),
        lambda: moved.at({}),
    ):
        with pytest.raises(bm.MixError, match="no values on the host"):
            call()
