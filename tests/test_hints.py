"""What policies and pairings read of a batch, and partners from a batch of another length."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Image, Keep, Labels, Mask, Targets
from batchmix.pairing import Derangement, Other, Permutation, Reverse, Roll, Within
from batchmix.policies import (
    CopyPaste,
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    Paste,
    PerBatch,
    PerPair,
    ResizeMix,
    SmoothMix,
    Sometimes,
    Switch,
)

SIZE = {"H": 4, "W": 6}


@dataclass(frozen=True)
class Seen:
    """Opacity by what is read of the row and of its partner, so that both can be seen in lam."""

    reads: ClassVar[tuple[str, ...]] = ("label", "image")

    def sample(self, request):
        own = request.hints["label"]
        theirs = request.theirs["label"][request.partner]
        assert len(request.hints["image"]) == len(request.partner)
        box = np.zeros((len(own), 2, 2), np.int32)
        box[..., 1] = list(request.size.values())
        return Paste(box, (own * 16 + theirs) / 4096, np.zeros(len(own), np.int8))


@dataclass(frozen=True)
class Next:
    """The row whose label is one more."""

    reads: ClassVar[tuple[str, ...]] = ("label",)

    def pair(self, rng, batch, hints, other=None):
        pool = np.asarray((hints if other is None else other.hints)["label"])
        wanted = (np.asarray(hints["label"]) + 1) % (pool.max() + 1)
        return (wanted[:, None] == pool).argmax(1)


def batch_of(xp, rows=5, seed=0, shift=0):
    order = np.random.default_rng(seed).permutation(rows)
    return {
        "image": xp.array(np.random.default_rng(1).random((rows, 3, 4, 6)), "float32"),
        "label": xp.ids((order + shift) % rows),
    }, (order + shift) % rows


FIELDS = {"image": Image("NCHW"), "label": Labels(16)}


def lam_of(own, theirs):
    return 1 - (own * 16 + theirs) / 4096


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_mixer_hands_over_its_fields(xp, rows):
    batch, label = batch_of(xp, rows)
    plan = bm.Mixer(Seen(), FIELDS, pairing=Next(), seed=0).draw(batch, step=0)
    np.testing.assert_array_equal(label[plan.partner], (label + 1) % rows)
    alone = plan.partner == np.arange(rows)
    want = np.where(alone, 1, lam_of(label, label[plan.partner]))
    np.testing.assert_allclose(plan.lam, want, atol=1e-7)


def test_in_a_compiled_step(xp):
    """The host is handed the arrays that the program has when it runs."""
    if xp.compiled is None:
        pytest.skip("no compiler of this framework in the test")
    mixer = bm.Mixer(Seen(), FIELDS, pairing=Next(), seed=0)
    run = xp.compiled(lambda batch, step: mixer(batch, step=step, epoch=step))
    for seed in (0, 1):
        batch, _ = batch_of(xp, seed=seed)
        found = run(batch, xp.ids(0))
        want = mixer(batch, step=0, epoch=0)
        for name in FIELDS:
            np.testing.assert_allclose(xp.numpy(found[name]), xp.numpy(want[name]), atol=1e-6)


@pytest.mark.parametrize(
    "policy",
    [
        Switch([Seen(), Seen()]),
        Sometimes(Seen(), 1),
        Layers([Seen()]),
        Sometimes(Switch([Seen()]), 1),
    ],
)
def test_rows_keep_their_hints_in_policies_of_policies(policy):
    label = np.arange(8)[::-1].copy()
    hints = {"label": label, "image": np.zeros((8, 4, 6, 3))}
    plan = bm.draw(policy, bm.Key(0), 8, SIZE, hints=hints)
    np.testing.assert_allclose(plan.lam, lam_of(label, label[plan.partner]), atol=1e-7)
    assert policy.reads == ("label", "image")


def test_shared_draws_look_at_the_first_row():
    label = np.arange(8)[::-1].copy()
    hints = {"label": label, "image": np.zeros((8, 4, 6))}
    plan = bm.draw(PerBatch(Seen()), bm.Key(0), 8, SIZE, hints=hints)
    np.testing.assert_allclose(plan.lam, lam_of(label[0], label[plan.partner[0]]), atol=1e-7)
    pairs = bm.draw(PerPair(Seen()), bm.Key(0), 8, SIZE, hints=hints, pairing=Reverse())
    lower = np.minimum(np.arange(8), 7 - np.arange(8))
    np.testing.assert_allclose(pairs.lam, lam_of(label[lower], label[7 - lower]), atol=1e-7)
    with pytest.raises(bm.MixError, match="PerPair"):
        bm.draw(Switch([PerPair(Seen())]), bm.Key(0), 8, SIZE, hints=hints, pairing=Reverse())


def test_layers_see_the_partners_of_their_own():
    label = np.arange(8)
    hints = {"label": label, "image": np.zeros((8, 4, 6))}
    plan = bm.draw(Layers([MixUp(1.0), Seen()]), bm.Key(0), 8, SIZE, hints=hints)
    above = plan.layers[1]
    np.testing.assert_allclose(above.lam, lam_of(label, label[above.partner]), atol=1e-7)


def test_what_nobody_gives():
    x, y = np.zeros((4, 3, 4, 6), np.float32), np.arange(4)
    for fields, said in (
        ({0: Image("NCHW")}, "'label'; of the fields none is such a part"),
        (
            {0: Image("NCHW"), 1: Labels(4), 2: Labels(4)},
            "'label'; of the fields 2 are",
        ),
    ):
        with pytest.raises(bm.MixError) as error:
            bm.Mixer(MixUp(), fields, pairing=Next())((x, y, y))
        assert said in str(error.value)
        assert "hints={'label': place in the batch}" in str(error.value)
    with pytest.raises(bm.MixError, match="reads 'label'; hints has 'labels'") as error:
        bm.draw(MixUp(), bm.Key(0), 4, {}, pairing=Next(), hints={"labels": y})
    with pytest.raises(bm.MixError, match=r"'label' has shape \(3,\)"):
        bm.draw(MixUp(), bm.Key(0), 4, {}, pairing=Next(), hints={"label": y[:3]})


def test_hints_at_a_place_that_is_told(xp):
    batch, label = batch_of(xp)
    for fields, hints in (
        (FIELDS | {"again": Labels(16)}, {"label": "label"}),
        ({"image": Image("NCHW"), "label": Keep()}, {"label": "label"}),
        ({"image": Image("NCHW")}, {"label": "label"}),
    ):
        mixer = bm.Mixer(MixUp(1.0), fields, pairing=Next(), seed=0, hints=hints)
        plan = mixer.draw(batch | {"again": batch["label"]}, step=0)
        np.testing.assert_array_equal(label[plan.partner], (label + 1) % 5)
        assert mixer.but(rank=1).hints == hints


def test_arrays_have_the_axes_of_the_plan():
    """Rows, then the axes that boxes lie on, then the rest; targets and masks by their names."""
    seen = {}

    class Look:
        reads = ("image", "mask", "target", "label")

        def sample(self, request):
            seen.update({name: hint.shape for name, hint in request.hints.items()})
            assert request.theirs["image"].dtype == np.uint8
            return MixUp(1.0).sample(request)

    fields = {0: Image("NCWH"), 1: Mask("NHW"), 2: Targets(), 3: Labels(7)}
    batch = (
        np.zeros((2, 3, 6, 4), np.uint8), np.zeros((2, 4, 6), int), np.zeros((2, 5)), np.arange(2)
    )  # fmt: skip
    bm.Mixer(Look(), fields)(batch)
    assert seen == {"image": (2, 4, 6, 3), "mask": (2, 4, 6), "target": (2, 5), "label": (2,)}


# --- partners from another batch


@pytest.mark.parametrize(("rows", "others"), [(4, 6), (6, 4), (1, 1), (1, 5), (5, 1), (3, 3)])
@pytest.mark.parametrize(
    "pairing", [Derangement(), Permutation(), Reverse(), Roll(2), Within(1), Next()]
)
def test_any_number_of_other_rows(xp, rows, others, pairing):
    own, _ = batch_of(xp, rows)
    pool, labels = batch_of(xp, others, seed=1)
    pool["image"] = xp.array(np.random.default_rng(2).random((others, 3, 4, 6)), "float32")
    mixer = bm.Mixer(CutMix(1.0), FIELDS, pairing=pairing, seed=0)
    plan = mixer.draw(own, step=0, other=pool)
    assert plan.others == others
    mixed = mixer(own, step=0, other=pool)
    again = mixer.apply(own, plan, other=pool)
    x, z = xp.numpy(own["image"]), xp.numpy(pool["image"])
    for row in range(rows):
        (top, bottom), (left, right) = plan.box[row]
        want = x[row].copy()
        want[:, top:bottom, left:right] = z[plan.partner[row]][:, top:bottom, left:right]
        np.testing.assert_array_equal(xp.numpy(mixed["image"])[row], want)
        soft = np.zeros(16)
        soft[int(xp.numpy(own["label"])[row])] += plan.lam[row]
        soft[labels[plan.partner[row]]] += 1 - plan.lam[row]
        np.testing.assert_allclose(xp.numpy(mixed["label"])[row], soft, atol=1e-6)
    np.testing.assert_array_equal(xp.numpy(again["image"]), xp.numpy(mixed["image"]))


def test_every_other_row_is_taken_about_equally_often():
    for pairing in (Derangement(), Permutation(), Within(2)):
        partner = bm.draw(MixUp(), bm.Key(0), 12, {}, pairing=pairing, other=4).partner
        assert np.bincount(partner, minlength=4).tolist() == [3, 3, 3, 3]
    counts = np.zeros(3)
    for step in range(300):
        partner = bm.draw(MixUp(), bm.Key(0, 0, step), 1, {}, other=3).partner
        counts += np.bincount(partner, minlength=3)
    assert counts.min() > 70


def test_a_single_row_is_mixed_with_the_row_of_another_batch(xp):
    own, _ = batch_of(xp, 1)
    plan = bm.Mixer(MixUp(1.0), FIELDS, seed=0).draw(own, step=0, other=own)
    assert plan.lam[0] < 1
    assert "others" in plan.form


def test_in_layers_and_in_place(xp):
    own, _ = batch_of(xp, 3)
    pool, _ = batch_of(xp, 7)
    mixer = bm.Mixer(Layers([MixUp(1.0), CutMix(1.0)]), FIELDS, seed=0)
    mixed = mixer(own, step=0, other=pool)
    inside = mixer.but(inplace=True)(own, step=0, other=pool)
    np.testing.assert_array_equal(xp.numpy(inside["image"]), xp.numpy(mixed["image"]))
    np.testing.assert_allclose(xp.numpy(mixed["label"]).sum(1), 1, atol=1e-6)


def test_a_plan_for_another_batch_is_refused_without_it():
    plan = bm.draw(MixUp(), bm.Key(0), 4, {}, other=6)
    x = np.zeros((4, 3))
    with pytest.raises(bm.MixError, match="there is no `other`; the plan takes partners"):
        bm.mix(x, plan, "NC")
    with pytest.raises(bm.MixError, match=r"`other` has 5 rows; the plan takes .* of 6 rows"):
        bm.mix(x, plan, "NC", other=np.zeros((5, 3)))
    for wrong in (-1, 2.5, True):
        with pytest.raises(bm.MixError):
            bm.Plan([0], [], [1], "", (), others=wrong)
    with pytest.raises(bm.MixError, match="`partner` of row 0 is"):
        bm.Plan([6], [], [1], "", (), others=6)


def test_a_pairing_of_one_batch_says_so():
    class Old:
        def pair(self, rng, batch, hints):
            return np.arange(batch)

    with pytest.raises(bm.MixError, match="fourth argument, other=None"):
        bm.draw(MixUp(), bm.Key(0), 4, {}, pairing=Old(), other=6)


def test_other_rows_with_hints():
    plan = bm.draw(
        MixUp(1.0), bm.Key(0), 2, {}, pairing=Next(), hints={"label": np.array([0, 2])},
        other=Other(3, {"label": np.array([3, 1, 0])}),
    )  # fmt: skip
    assert plan.partner.tolist() == [1, 0]


@pytest.mark.parametrize(
    "policy",
    [
        Switch([FMix(), MixUp(1.0)]), Sometimes(Mosaic(), 0.5), Switch([ResizeMix(), CutMix()]),
        Switch([GridMix(), FMix(), SmoothMix()]), Layers([Sometimes(FMix(), 0.5), CutMix()]),
        Switch([PerBatch(FMix()), MixUp(1.0)]), Sometimes(Switch([Mosaic("crop"), FMix()]), 0.5),
    ],
)  # fmt: skip
def test_a_plan_has_one_form_whichever_policy_drew(policy):
    """A compiled step has room for one: which rows were picked must not decide the columns."""
    for batch in (1, 4):
        forms = set()
        for step in range(60):
            plan = bm.draw(policy, bm.Key(0, 0, step), batch, {"H": 40, "W": 40})
            shapes = tuple((name, c.shape, str(c.dtype)) for name, c in plan.columns().items())
            forms.add((shapes, tuple(plan.form.items())))
        assert len(forms) == 1


def test_names_that_nobody_reads():
    with pytest.raises(bm.MixError, match="hints for lable"):
        bm.Mixer(MixUp(), FIELDS, pairing=Next(), hints={"lable": "label"})
    for wrong in ("label", ["label"]):
        with pytest.raises(bm.MixError, match="say where in a batch"):
            bm.Mixer(MixUp(), FIELDS, pairing=Next(), hints=wrong)


@pytest.mark.parametrize("other", [0, -1, 2.5, True, "x", (2, {}), Other(2.5, {}), Other(2, None)])
def test_other_batches_that_are_none(other):
    with pytest.raises(bm.MixError, match="got other="):
        bm.draw(MixUp(), bm.Key(0), 4, {}, other=other)


@pytest.mark.parametrize("hints", ["label", [1], {"label": [[1], [1, 2]]}])
def test_hints_that_are_none(hints):
    with pytest.raises(bm.MixError, match="hints"):
        bm.draw(MixUp(), bm.Key(0), 2, {}, pairing=Next(), hints=hints)


def test_masks_of_instances_come_before_the_axes_of_the_plan():
    """[B, K, H, W], as a field of ids too."""
    masks = np.zeros((3, 4, 4, 4), int)
    for k in range(4):
        masks[:, k, k] = 1
    batch = {"image": np.zeros((3, 3, 4, 4), np.float32), "things": masks}
    fields = {"image": Image("NCHW"), "things": Mask("NCHW")}
    mixer = bm.Mixer(CopyPaste(), fields, seed=0, hints={"instances": "things"})
    plan = mixer.draw(batch, step=0)
    want = bm.draw(CopyPaste(), bm.Key(0), 3, {"H": 4, "W": 4}, hints={"instances": masks})
    np.testing.assert_array_equal(plan.mask, want.mask)
    assert plan.mask.sum() > 0


def test_another_batch_with_names_in_it(xp):
    """What is no array is passed over where rows are counted."""
    fields = {"name": Keep()} | FIELDS
    own, pool = ({"name": ["a"]} | batch_of(xp, rows)[0] for rows in (3, 5))
    assert bm.Mixer(MixUp(1.0), fields).draw(own, step=0, other=pool).others == 5
    with pytest.raises(bm.MixError):
        bm.Mixer(MixUp(1.0), fields)(own, step=0, other=dict.fromkeys(own, "x"))
