"""Rows of different lengths: what is pasted where, and labels counted over cells of content."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchmix as bm
import oracle
from batchmix.fields import Audio, Labels, PaddingMask
from batchmix.pairing import Other, Reverse, Roll
from batchmix.policies import (
    SNR,
    BetweenClass,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    PerBatch,
    PerPair,
    ResizeMix,
    SmoothMix,
    Sometimes,
    SpecMix,
    Switch,
    Unpadded,
)

T, B = 40, 8
LENGTHS = np.array([40, 25, 1, 12, 33, 0, 7, 40])
CONTENT = np.arange(T) < LENGTHS[:, None]
# row i is the constant i + 1 where it has content, and -1000 where it has none
X = np.where(CONTENT, np.arange(1, B + 1)[:, None], -1000.0)
POLICIES = [
    CutMix(), CutMix(minmax=(1, 1)), CutMix(placement="inside"), MixUp(1.0), GridMix(),
    FMix(cells=None), SpecMix(), SmoothMix(), ResizeMix(), ResizeMix(resample="nearest"),
    Switch([MixUp(1.0), CutMix(), GridMix()]), Sometimes(CutMix(), 0.5), PerBatch(CutMix()),
    Layers([MixUp(1.0), CutMix()]), Layers([CutMix(), FMix(), MixUp(1.0)]),
]  # fmt: skip


def draw(policy, content=CONTENT, step=0, size=None, **more):
    size = {"T": content.shape[1]} if size is None else size
    hints = {"padding": content} | more.pop("hints", {})
    return bm.draw(Unpadded(policy), bm.Key(1, 0, step), len(content), size, hints=hints, **more)


def opacities(plan, row):
    """What is seen at each cell of the grid of the row itself, then of each partner."""
    cell = dict(zip(plan.axes, np.indices(plan.size, sparse=True)))
    seen = [np.ones(plan.size)]
    for layer in plan.layers:
        a = np.broadcast_to(oracle.alpha(layer, row, cell), plan.size)
        seen = [before * (1 - a) for before in seen] + [a]
    return seen


def assert_content_alone(plan, content):
    """Content of the row and of the partner wherever anything is pasted; labels are counted."""
    for row in range(len(plan)):
        seen = opacities(plan, row)
        own = content[row].astype(bool)
        own = own if own.shape == plan.size else np.broadcast_to(own, plan.size)
        for k, layer in enumerate(plan.layers, 1):
            theirs = content[layer.partner[row]].astype(bool)
            pasted = seen[k] > 0
            assert not (pasted & ~own).any()
            if layer.source is None:
                assert not (pasted & ~np.broadcast_to(theirs, plan.size)).any()
            elif pasted.any():
                at = np.flatnonzero(theirs)
                start, stop = layer.source[row, plan.axes.index("T")]
                assert at[0] <= start < stop <= at[-1] + 1
        if own.any():
            shares = [one[own].mean() for one in seen]
            np.testing.assert_allclose(plan.label_weights[row], shares, atol=2e-6)
        else:
            assert plan.label_weights[row, 0] == 1


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_labels_are_counted_cells_of_content(policy, step):
    plan = draw(policy, step=step)
    assert_content_alone(plan, CONTENT)
    mixed = bm.mix(X, plan, "NT")
    np.testing.assert_array_equal(mixed[~CONTENT], -1000)
    assert (mixed[CONTENT] >= 1).all()  # no padding in any content
    assert (plan.lam < 1).any()


def test_without_it_padding_is_mixed_over_content():
    """What is said in the documentation of batches that are padded first."""
    plan = bm.draw(MixUp(1.0), bm.Key(0), B, {"T": T}, pairing=Roll(1))
    assert (bm.mix(X, plan, "NT")[CONTENT] < 0).any()


@given(st.data())
@settings(max_examples=80)
def test_any_stretches(data):
    cells, rows = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 5))
    ends = [sorted(data.draw(st.tuples(st.integers(0, cells), st.integers(0, cells))))
            for _ in range(rows)]  # fmt: skip
    at = np.arange(cells)
    content = np.array([(at >= lo) & (at < hi) for lo, hi in ends], bool).reshape(rows, cells)
    policy = data.draw(st.sampled_from(POLICIES))
    plan = draw(policy, content, data.draw(st.integers(0, 99)))
    assert_content_alone(plan, content)


def test_where_all_is_content_it_is_the_policy_itself():
    everything = np.ones((B, T), bool)
    for policy in POLICIES:
        want = bm.draw(policy, bm.Key(1), B, {"T": T})
        got = draw(policy, everything)
        np.testing.assert_array_equal(bm.mix(X, got, "NT"), bm.mix(X, want, "NT"))
        np.testing.assert_allclose(got.label_weights, want.weights, atol=1e-6)


def test_boxes_are_the_same_shares_of_what_both_have():
    content = np.arange(1000) < np.array([1000, 300])[:, None]
    drawn = [bm.draw(CutMix(), bm.Key(1, 0, k), 2, {"T": 1000}) for k in range(50)]
    for k, plan in enumerate(drawn):
        got = draw(CutMix(), content, k)
        want = np.where(plan.opacity[:, None] > 0, plan.box[:, 0] * 0.3, got.box[:, 0])
        np.testing.assert_allclose(got.box[:, 0], want, atol=0.51)


@pytest.mark.parametrize("axes", ["HT", "TH"])
@pytest.mark.parametrize("policy", [CutMix(), SpecMix(), GridMix(), MixUp(1.0)], ids=repr)
def test_spectrograms(axes, policy):
    sizes = {"H": 6, "T": T}
    plan = draw(policy, size={a: sizes[a] for a in axes})
    whole = CONTENT[:, None, :] if axes == "HT" else CONTENT[:, :, None]
    shape = tuple(sizes[a] for a in axes)
    assert_content_alone(plan, np.broadcast_to(whole, (B, *shape)))


def test_a_rule_of_the_policy_stays():
    x = np.where(CONTENT, np.random.default_rng(0).normal(size=(B, T)), 0)
    plan = draw(BetweenClass(100), hints={"audio": x}, pairing=Roll(1))
    alone = plan.lam == 1
    assert (plan.label_weights[alone, 0] == 1).all()
    assert np.isin(plan.label_lam[~alone] * 4096, np.arange(1, 4096)).all()


def test_levels_are_those_of_the_content():
    """A row of half the length is as loud as another of the same samples."""
    content = np.arange(T) < np.array([T, T // 4])[:, None]
    x = np.where(content, [[0.5, -0.5] * (T // 2)], 0)
    plan = draw(SNR(0, 0), content, hints={"audio": x}, pairing=Reverse())
    np.testing.assert_allclose(plan.opacity, 0.5, atol=1e-3)
    plain = bm.draw(SNR(0, 0), bm.Key(0), 2, {"T": T}, hints={"audio": x}, pairing=Reverse())
    np.testing.assert_allclose(plain.opacity, [2 / 3, 1 / 3], atol=1e-3)


def test_partners_of_another_batch():
    theirs = np.arange(T) < np.array([5, 30, 17])[:, None]
    plan = draw(CutMix(minmax=(1, 1)), other=Other(3, {"padding": theirs}))
    want = np.minimum(LENGTHS, theirs.sum(1)[plan.partner])
    np.testing.assert_array_equal(np.diff(plan.box[:, 0])[:, 0], want)


def test_in_a_mixer_with_masks_labels_and_integers(xp):
    batch = {
        "x": xp.array(X[:, None], "float32"), "lengths": xp.ids(LENGTHS),
        "mask": xp.array(CONTENT, "uint8"), "y": xp.ids(np.arange(B)),
    }  # fmt: skip
    fields = {"x": Audio("NCT"), "mask": PaddingMask("NT"), "y": Labels(B)}
    mixer = bm.Mixer(Unpadded(Switch([CutMix(), MixUp(1.0)])), fields, seed=1)
    plan = mixer.draw(batch, step=0)
    mixed = mixer.apply(batch, plan)
    np.testing.assert_array_equal(xp.numpy(mixed["mask"]), CONTENT)  # a row keeps its length
    np.testing.assert_array_equal(xp.numpy(mixed["x"])[:, 0][~CONTENT], -1000)
    want = plan.label_weights
    soft = np.zeros((B, B))
    np.add.at(soft, (np.arange(B), np.arange(B)), want[:, 0])
    np.add.at(soft, (np.arange(B), plan.partner), want[:, 1])
    np.testing.assert_allclose(xp.numpy(mixed["y"]), soft, atol=1e-6)


def test_union_of_labels_names_who_is_really_heard():
    plan = draw(CutMix(), pairing=Roll(1))
    labels = bm.mix_labels(np.arange(B), plan, B, rule="union")
    heard = oracle.mix(X, plan, "NT")
    for row in range(B):
        there = {int(v) - 1 for v in heard[row][CONTENT[row]]} or {row}
        assert set(np.flatnonzero(labels[row])) == there


@pytest.mark.parametrize(
    ("content", "size", "words"),
    [
        (CONTENT[:, :-1], {"T": T}, "hint 'padding' has shape"),
        (CONTENT, {"H": 4, "W": 4}, "axis T"),
        (CONTENT, {}, "axis T"),
        (np.tile([1, 0, 1, 1], (3, 1)), {"T": 4}, "content of row 0 has holes"),
    ],
)
def test_what_is_refused(content, size, words):
    with pytest.raises(bm.MixError, match=words):
        bm.draw(Unpadded(CutMix()), bm.Key(0), len(content), size, hints={"padding": content})


def test_it_wraps_what_shares_draws_and_is_not_wrapped():
    for share in (PerBatch, PerPair):
        assert draw(share(CutMix()), pairing=Reverse()).label_lam is not None
        with pytest.raises(bm.MixError, match="Put it outside"):
            bm.draw(share(Unpadded(CutMix())), bm.Key(0), B, {"T": T}, pairing=Reverse(),
                    hints={"padding": CONTENT})  # fmt: skip
    with pytest.raises(bm.MixError, match="reads 'padding'"):
        bm.Mixer(Unpadded(CutMix()), {0: Audio("NT"), 1: Labels(B)})((X, np.arange(B)))
    with pytest.raises(bm.MixError, match="parentheses"):
        Unpadded(CutMix)


def test_a_share_of_content_that_equals_the_share_of_the_area_by_chance_stays():
    """Of row 1, 3 of 6 cells are pasted, and half of what then shows of its 5: labels count it."""
    content = np.arange(6) < np.array([[2], [5], [2], [3]])
    rows = np.eye(4)[:, :, None] * content[:, None]
    for seed in range(20):
        policy = Unpadded(Layers([MixUp(1.0), FMix()]))
        plan = bm.draw(policy, bm.Key(seed), 4, {"T": 6}, hints={"padding": content})
        shown = bm.mix(rows, plan, "NCT").sum(2) / content.sum(1)[:, None]
        np.testing.assert_allclose(bm.mix_labels(np.arange(4), plan, 4), shown, atol=1e-6)


def test_layers_go_inside():
    with pytest.raises(bm.MixError, match="Put the layers inside"):
        Layers([Unpadded(MixUp(1.0)), Unpadded(CutMix(1.0))])
    with pytest.raises(bm.MixError, match="Put the layers inside"):
        Layers([MixUp(1.0), Sometimes(Unpadded(CutMix(1.0)), 0.5)])
