"""Masks follow pixels: as ids, one-hot and soft; against painting cell by cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Grid, Ids, Image, Mask, SoftMask
from batchmix.losses import pairwise, soft_cross_entropy
from batchmix.policies import (
    ClassMix,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    ResizeMix,
    Sometimes,
)
from checks import EXAMPLES

B, C, IGNORE = 5, 4, 255
LAYOUTS = {  # of ids -> sizes; the channels of weights come after N, or last
    "NHW": (7, 9),
    "NT": (24,),
    "NDHW": (4, 5, 6),
}
POLICIES = {
    "mixup": MixUp(1.0),
    "cutmix": CutMix(1.0),
    "some": Sometimes(CutMix(1.0), 0.5),
    "fmix": FMix(),
    "gridmix": GridMix(3),
    "resizemix": ResizeMix(),
    "layers": Layers([MixUp(1.0), CutMix(1.0), CutMix(1.0)]),
}


def masks(shape, rng, ignore=False, rows=B):
    """Ids in patches, some of them ignored."""
    ids = rng.integers(0, C + ignore, (rows, *(1 + n // 2 for n in shape)))
    for axis, n in enumerate(shape):
        ids = ids.repeat(2, axis + 1).take(np.arange(n), axis + 1)
    return np.where(ids == C, IGNORE, ids)


def plan_of(policy, layout, seed=3, rows=B, other=None):
    size = dict(zip(layout[1:], LAYOUTS[layout]))
    return bm.draw(policy, bm.Key(seed), rows, size, other=other)


def one_hot(ids):
    """[B, ..., C]; nothing where ids are ignored."""
    return (ids[..., None] == np.arange(C)).astype(np.float32)


def painted(ids, plan, layout, other=None):
    """[B, ..., C]: the oracle's blend of the one-hot mask, cell by cell in float64."""
    theirs = None if other is None else one_hot(other)
    return oracle.mix(one_hot(ids), plan, layout + "C", theirs)


def first(weights):
    """The classes behind the rows."""
    return np.moveaxis(weights, -1, 1)


@pytest.mark.parametrize("ignore", [None, IGNORE])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("policy", POLICIES)
def test_soft_masks_are_what_a_painter_makes_of_one_hot_ones(xp, layout, policy, ignore):
    if policy == "gridmix" and layout == "NT":
        pytest.skip("a grid has two axes at least")
    rng = np.random.default_rng(0)
    ids = masks(LAYOUTS[layout], rng, ignore is not None)
    plan = plan_of(POLICIES[policy], layout)
    soft = SoftMask(layout, C, ignore=ignore)(xp.ids(ids), plan)
    assert xp.dtype(soft) == "float32"
    assert tuple(soft.shape) == (B, C, *LAYOUTS[layout])
    want = first(painted(ids, plan, layout))
    np.testing.assert_allclose(xp.numpy(soft), want, atol=2e-6)
    known = xp.numpy(soft).sum(1)
    if ignore is None:
        np.testing.assert_allclose(known, 1, atol=1e-6)
    else:
        there = (ids != IGNORE).astype(np.float32)
        np.testing.assert_allclose(known, oracle.mix(there, plan, layout), atol=2e-6)


@pytest.mark.parametrize("policy", ["mixup", "cutmix", "layers"])
def test_the_mean_of_a_soft_mask_is_the_label_of_the_row(xp, policy):
    """Of rows that are one class all over: the label law, cell by cell."""
    plan = plan_of(POLICIES[policy], "NHW")
    y = np.arange(B) % C
    ids = np.broadcast_to(y[:, None, None], (B, *LAYOUTS["NHW"])).copy()
    soft = SoftMask("NHW", C)(xp.ids(ids), plan)
    labels = bm.mix_labels(xp.ids(y), plan, C)
    np.testing.assert_allclose(xp.numpy(soft).mean((2, 3)), xp.numpy(labels), atol=1e-6)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_hot_masks_and_a_channel_of_ids(xp, layout, dtype):
    """Classes are where the channels are, and nothing that was given is written to."""
    ids = masks(LAYOUTS["NHW"], np.random.default_rng(1))
    plan = plan_of(Layers([CutMix(1.0), MixUp(1.0)]), "NHW")
    want, hot = painted(ids, plan, "NHW"), one_hot(ids)
    place = -1 if layout == "NHWC" else 1
    want, hot = np.moveaxis(want, -1, place), np.moveaxis(hot, -1, place)
    given_ = xp.array(hot, dtype)
    field = SoftMask(layout, C)
    np.testing.assert_allclose(xp.numpy(field(given_, plan)), want, atol=2e-6)
    np.testing.assert_array_equal(xp.numpy(given_), hot)
    alone = xp.array(np.expand_dims(ids, place), "uint8")
    np.testing.assert_allclose(xp.numpy(field(alone, plan)), want, atol=2e-6)


@pytest.mark.parametrize("policy", [MixUp(1.0), CutMix(1.0)], ids=["mixup", "cutmix"])
def test_partners_of_another_batch_of_another_length(xp, policy):
    rng = np.random.default_rng(2)
    ids, other = (masks(LAYOUTS["NHW"], rng, ignore=True, rows=rows) for rows in (B, 3))
    plan = plan_of(policy, "NHW", other=3)
    soft = SoftMask("NHW", C, ignore=IGNORE)(xp.ids(ids), plan, xp.ids(other))
    want = first(painted(ids, plan, "NHW", other))
    np.testing.assert_allclose(xp.numpy(soft), want, atol=2e-6)


@pytest.mark.parametrize("layout", ["NHW", "NDHW", "NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_ids_are_those_of_the_heavier_row_in_each_cell(xp, layout, dtype):
    """Boxes, masks of a plan and blends; one-hot channels are chosen together."""
    sizes = LAYOUTS["NDHW" if "D" in layout else "NHW"]
    axes = layout.replace("N", "").replace("C", "")
    rng = np.random.default_rng(4)
    ids = masks(sizes, rng) % (2 if dtype == "bool" and "C" not in layout else C)
    place = layout.find("C")
    x = ids if place < 0 else np.moveaxis(one_hot(ids), -1, place)
    for policy in (MixUp(1.0), CutMix(1.0), FMix()):
        plan = bm.draw(policy, bm.Key(5), B, dict(zip(axes, sizes)))
        own = oracle.mix(np.ones((B, *sizes)), plan, "N" + axes, np.zeros((B, *sizes)))
        chosen = np.where(own >= 0.5, ids, ids[plan.partner])
        want = chosen if place < 0 else np.moveaxis(one_hot(chosen), -1, place)
        got = Ids(layout)(xp.array(x, dtype), plan)
        assert xp.dtype(got) == dtype
        np.testing.assert_array_equal(xp.numpy(got), want)


@pytest.mark.parametrize("layout", ["NHW", "NDHW"])
def test_ids_under_layers_are_those_of_the_last_paste(xp, layout):
    """Boxes over boxes: the painter's rule, with no id that is not in one of the rows."""
    ids = masks(LAYOUTS[layout], np.random.default_rng(8), ignore=True)
    plan = plan_of(Layers([CutMix(1.0)] * 3), layout)
    got = xp.numpy(Ids(layout)(xp.ids(ids), plan))
    np.testing.assert_array_equal(got, oracle.mix(ids, plan, layout))
    hot = xp.numpy(SoftMask(layout, C, ignore=IGNORE)(xp.ids(ids), plan))
    np.testing.assert_array_equal(hot, first(one_hot(got)))


def test_an_ignored_cell_is_an_id_like_any_other(xp):
    """Of the heavier row it stays ignored: what the lighter one knows there does not fill it."""
    ids = xp.ids([[7, IGNORE, 7, IGNORE], [1, 1, IGNORE, IGNORE]])
    light = bm.Plan([1, 0], [[[0, 4]]] * 2, [0.25, 0.75], "T", (4,))
    got = xp.numpy(Mask("NT")(ids, light))
    assert got[0].tolist() == [7, IGNORE, 7, IGNORE]
    assert got[1].tolist() == [7, IGNORE, 7, IGNORE]
    soft = xp.numpy(SoftMask("NT", 8, ignore=IGNORE)(ids, light))
    np.testing.assert_allclose(soft[0].sum(0), [1, 0.25, 0.75, 0])
    np.testing.assert_allclose(soft[0, [1, 7]], [[0.25, 0.25, 0, 0], [0.75, 0, 0.75, 0]])


@pytest.mark.parametrize("ignore", [-100, -1, 200, 2**31 - 1])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_any_id_may_be_ignored(xp, dtype, ignore):
    """Also one that the dtype of the mask cannot hold: then no cell has it."""
    fits = np.iinfo(dtype).min <= ignore <= np.iinfo(dtype).max
    ids = xp.array([[0, ignore if fits else 1, 2]], dtype)
    soft = xp.numpy(SoftMask("NT", 3, ignore=ignore)(ids, bm.Plan.identity(1, "T", (3,))))
    assert soft[0].sum(0).tolist() == [1, 0 if fits else 1, 1]


def test_booleans_as_numbers_are_refused_and_as_ids_are_mixed(xp):
    x = xp.array(np.eye(3)[None].repeat(2, 0), "bool")
    plan = bm.draw(MixUp(1.0), bm.Key(0), 2, {"H": 3, "W": 3})
    with pytest.raises(bm.MixError, match=r"fields\.Ids"):
        Grid("NHW")(x, plan)
    assert xp.dtype(Ids("NHW")(x, plan)) == "bool"


@given(data=st.data())
@settings(max_examples=EXAMPLES)
def test_any_plan(data):
    """Cells sum to what is known of them, whatever is pasted over whatever."""
    rows, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ids = rng.choice([0, 1, 2, IGNORE], (rows, n, n))
    layers = []
    for _ in range(data.draw(st.integers(1, 3))):
        box = np.sort(rng.integers(0, n + 1, (rows, 2, 2)))
        opacity = rng.choice([0, 0.25, 0.5, 1], rows)
        mask = rng.choice([0, 0.5, 1], (rows, n, n)) if rng.random() < 0.5 else None
        layers.append(bm.Plan(rng.integers(0, rows, rows), box, opacity, "HW", (n, n), mask=mask))
    plan = layers[0]
    for layer in layers[1:]:
        plan = plan.then(layer)
    soft = SoftMask("NHW", C, ignore=IGNORE)(ids, plan)
    np.testing.assert_allclose(soft, first(painted(ids, plan, "NHW")), atol=2e-6)
    known = bm.mix((ids != IGNORE).astype(np.float32), plan, "NHW")
    np.testing.assert_allclose(soft.sum(1), known, atol=2e-6)


def test_in_a_compiled_function(xp):
    if xp.compiled is None:
        pytest.skip("test_torch_compiles_it is for PyTorch; NumPy has no such functions")
    ids = masks(LAYOUTS["NHW"], np.random.default_rng(6), ignore=True)
    plan = plan_of(CutMix(1.0), "NHW")
    field = SoftMask("NHW", C, ignore=IGNORE)
    run = xp.compiled(lambda x, plan: field(x, plan))
    soft = run(xp.ids(ids), plan)
    np.testing.assert_allclose(xp.numpy(soft), first(painted(ids, plan, "NHW")), atol=2e-6)


def test_torch_compiles_it():
    torch = pytest.importorskip("torch")
    ids = torch.tensor(masks(LAYOUTS["NHW"], np.random.default_rng(6), ignore=True))
    plan, field = plan_of(MixUp(1.0), "NHW"), SoftMask("NHW", C, ignore=IGNORE)
    run = torch.compile(lambda x, plan: field(x, plan), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(run(ids, plan), field(ids, plan))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_mixer_mixes_ids_and_soft_masks_beside_images(inplace):
    """In place or not: a soft mask is new, and what was given stays."""
    rng = np.random.default_rng(0)
    ids = masks((8, 8), rng)
    batch = {"image": ids[..., None].astype(np.float32), "ids": ids.copy(), "soft": ids.copy()}
    fields = {"image": Image("NHWC"), "ids": Mask("NHW"), "soft": SoftMask("NHW", C)}
    mixed = bm.Mixer(CutMix(1.0), fields, seed=0, inplace=inplace)(batch)
    np.testing.assert_array_equal(mixed["image"][..., 0], mixed["ids"])
    np.testing.assert_array_equal(mixed["soft"], first(one_hot(mixed["ids"])))
    np.testing.assert_array_equal(batch["soft"], ids)
    assert (mixed["ids"] is batch["ids"]) == inplace


@pytest.mark.parametrize("layout", ["NHW", "NCHW", "NHWC"])
@pytest.mark.parametrize("field", [Mask, lambda layout: SoftMask(layout, C)], ids=["ids", "soft"])
def test_classmix_reads_masks_with_a_channel_of_one(layout, field):
    ids = masks((6, 6), np.random.default_rng(0))
    x = ids if "C" not in layout else np.expand_dims(ids, layout.index("C"))
    batch = {"image": ids[..., None].astype(np.float32), "mask": x}
    mixer = bm.Mixer(ClassMix(), {"image": Image("NHWC"), "mask": field(layout)}, seed=0)
    mixed = mixer(batch)
    got = mixed["image"][..., 0]
    assert (got != ids).any()
    if isinstance(mixer.fields["mask"], Ids):
        np.testing.assert_array_equal(got, mixed["mask"].reshape(ids.shape))
    else:
        place = 3 if layout == "NHWC" else 1
        np.testing.assert_array_equal(got, mixed["mask"].argmax(place))


@pytest.mark.parametrize("policy", [MixUp(1.0), CutMix(1.0), FMix()], ids=["blend", "box", "mask"])
def test_pairs_of_masks_give_the_loss_of_soft_masks(xp, policy):
    """Both masks and a weight for each cell, without an array of all classes."""
    if xp.name != "torch":
        pytest.skip("written with PyTorch's loss")
    import torch
    from torch.nn.functional import cross_entropy

    ids = masks(LAYOUTS["NHW"], np.random.default_rng(0), ignore=True)
    y, plan = xp.ids(ids), plan_of(policy, "NHW")
    logits = torch.tensor(np.random.default_rng(1).normal(size=(B, C, *LAYOUTS["NHW"])))
    logits = logits.to(y.device)
    target = SoftMask("NHW", C, ignore=IGNORE)(y, plan).double()
    want = cross_entropy(logits, target, reduction="sum") / target.sum()

    own, partner, _ = bm.pairs(y, plan)
    empty = torch.zeros(y.shape, device=y.device)
    weight = 1 - bm.mix(empty, plan, "NHW", other=empty + 1)

    def each(z, y):
        return cross_entropy(z, y, ignore_index=IGNORE, reduction="none")

    known = weight * (own != IGNORE) + (1 - weight) * (partner != IGNORE)
    loss = pairwise(each, logits, (own, partner, weight), reduction="none")
    torch.testing.assert_close(loss.sum() / known.sum(), want)
    cells = soft_cross_entropy(
        logits.movedim(1, -1).reshape(-1, C), target.movedim(1, -1).reshape(-1, C), "none"
    )
    torch.testing.assert_close(cells.sum() / target.sum(), want)
    with pytest.raises(bm.MixError, match="cells"):
        pairwise(lambda z, y: each(z, y)[:, :2], logits, (own, partner, weight))


X = np.zeros((2, 3, 3), np.int64)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: SoftMask("NHW"), "classes=0"),
        (lambda p: SoftMask("HW", 3), "starts with N"),
        (lambda p: SoftMask("NHW", True), "classes=True"),
        (lambda p: SoftMask("NHW", 3, ignore=1), "no class"),
        (lambda p: SoftMask("NHW", 3, ignore=0.5), "ignore=0.5"),
        (lambda p: SoftMask("NHW", 3, ignore=2**31), "32 bits"),
        (lambda p: SoftMask("NHW", 3)(X + 3, p), "the id 3 with classes=3"),
        (lambda p: SoftMask("NHW", 3)(X - 1, p), "the id -1 with classes=3"),
        (lambda p: SoftMask("NHW", 3, ignore=255)(X, p, X + 7), "the id 7"),
        (lambda p: SoftMask("NHW", 3)(X * 1.0, p), "integer ids"),
        (lambda p: SoftMask("NCHW", 3)(np.zeros((2, 2, 3, 3), int), p), "layout 'NCHW'"),
        (lambda p: SoftMask("NCHW", 3)(np.full((2, 3, 3, 3), 2), p), "not all 0 or 1"),
        (lambda p: SoftMask("NCHW", 3)(np.zeros((2, 3, 3, 3), complex), p), "complex"),
        (lambda p: SoftMask("NHW", 3)(np.zeros((2, 4, 3), int), p), "size"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    plan = bm.draw(MixUp(1.0), bm.Key(0), 2, {"H": 3, "W": 3})
    with pytest.raises(bm.MixError, match=says):
        make(plan)


def test_no_rows():
    plan = bm.draw(MixUp(1.0), bm.Key(0), 0, {"H": 3, "W": 3})
    assert SoftMask("NHW", 2)(X[:0], plan).shape == (0, 2, 3, 3)


def test_mosaic_of_masks_covers_every_cell():
    plan = bm.draw(Mosaic(), bm.Key(0), B, {"H": 7, "W": 9})
    ids = masks((7, 9), np.random.default_rng(0))
    soft = SoftMask("NHW", C)(ids, plan)
    np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
