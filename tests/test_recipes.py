"""Recipes have the numbers of their sources, and train: policy, pairing, smoothing and loss fit."""

import dataclasses
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import batchmix as bm
from batchmix import recipes
from batchmix.fields import Image, Labels
from batchmix.losses import soft_binary_cross_entropy, soft_cross_entropy
from batchmix.pairing import Permutation, Reverse, Roll
from batchmix.policies import CutMix, MixUp, PerBatch, PerPair, Schedule, Sometimes, Switch

ALL = {name: value for name, value in vars(recipes).items() if isinstance(value, recipes.Recipe)}


def both(mixup, cutmix):
    return PerBatch(Switch([MixUp(mixup), CutMix(cutmix)], [0.5, 0.5]))


# policy, pairing, smoothing, threshold of the BCE (None: cross-entropy)
SOURCES = {
    "deit": (both(0.8, 1.0), Reverse(), 0.1, None),
    "deit3": (both(0.8, 1.0), Reverse(), 0.0, 0.0),
    "rsb_a1": (both(0.2, 1.0), Reverse(), 0.1, 0.2),
    "rsb_a2": (both(0.1, 1.0), Reverse(), 0.0, 0.2),
    "rsb_a3": (both(0.1, 1.0), Reverse(), 0.0, 0.2),
    "convnext": (both(0.8, 1.0), Reverse(), 0.1, None),
    "mae_finetune": (both(0.8, 1.0), Reverse(), 0.1, None),
    "torchvision_resnet": (both(0.2, 1.0), Roll(1), 0.1, None),
    "mixup_cifar10": (PerBatch(MixUp(1.0)), Permutation(), 0.0, None),
    "mixup_imagenet": (PerBatch(MixUp(0.2)), Permutation(), 0.0, None),
    "cutmix_cifar": (PerBatch(Sometimes(CutMix(1.0), 0.5)), Permutation(), 0.0, None),
    "cutmix_imagenet": (PerBatch(CutMix(1.0)), Permutation(), 0.0, None),
}


@pytest.mark.parametrize("name", SOURCES)
def test_numbers(name):
    policy, pairing, smoothing, threshold = SOURCES[name]
    recipe = ALL[name]
    assert (recipe.policy, recipe.pairing, recipe.smoothing) == (policy, pairing, smoothing)
    if threshold is None:
        assert recipe.loss is soft_cross_entropy
    else:
        assert isinstance(recipe.loss, partial)
        assert recipe.loss.func is soft_binary_cross_entropy
        assert recipe.loss.keywords == {"threshold": threshold}


def test_all_recipes_are_above_and_public():
    policies = {name for name in recipes.__all__ if name.endswith("_policy")}
    assert set(SOURCES) == set(ALL) == set(recipes.__all__) - {"Recipe"} - policies
    assert policies == {"copy_paste_policy", "deim_policy", "timm_policy", "yolo_policy"}


@pytest.mark.parametrize("recipe", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("rows", [1, 8, 9])
def test_the_loss_takes_what_the_mixer_gives(recipe, rows):
    fields = {0: Image("NCHW"), 1: Labels(10, recipe.smoothing)}
    mixer = bm.Mixer(recipe.policy, fields, pairing=recipe.pairing, seed=0)
    x = np.random.default_rng(0).random((rows, 3, 8, 8), np.float32)
    mixed = 0
    for step in range(8):
        images, target = mixer((x, np.arange(rows) % 10), step=step)
        mixed += not np.array_equal(images, x)
        assert target.sum(1) == pytest.approx(np.ones(rows), abs=1e-6)
        assert np.isfinite(recipe.loss(np.zeros((rows, 10)), target))
    assert mixed > 0 if rows > 1 else mixed == 0


@pytest.mark.parametrize("recipe", ALL.values(), ids=list(ALL))
def test_every_recipe_cites_its_source(recipe):
    assert re.search(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|github\.com/\w+/\w+)", recipe.source)


def row(name, recipe):
    """A recipe as a row of the table."""
    inner = recipe.policy.policy
    share = inner.prob if isinstance(inner, Sometimes) else 1
    inner = inner.policy if isinstance(inner, Sometimes) else inner
    parts = inner.policies if isinstance(inner, Switch) else [inner]
    alphas = {type(part): f"{part.alpha:g}" for part in parts}
    threshold = getattr(recipe.loss, "keywords", {}).get("threshold")
    cells = [
        f"`{name}`", alphas.get(MixUp, "-"), alphas.get(CutMix, "-"), f"{share:g}",
        f"`{type(recipe.pairing).__name__}`", f"{recipe.smoothing:g}",
        "cross-entropy" if threshold is None else f"BCE, above {threshold:g}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def test_the_table_of_the_page_is_made_of_the_recipes():
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert "\n".join(row(name, recipe) for name, recipe in ALL.items()) in page


def test_a_recipe_is_a_value():
    recipe = recipes.deit
    assert recipe == recipes.mae_finetune != recipes.deit3
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.smoothing = 0.2
    longer = dataclasses.replace(recipe, policy=Schedule.off_after(recipe.policy, 90))
    assert longer.loss is recipe.loss


# timm's arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, PerBatch(MixUp(1.0))),
        ({"mixup_alpha": 0.0}, None),
        ({"mixup_alpha": 0.0, "cutmix_alpha": 0.5, "mode": "pair"}, PerPair(CutMix(0.5))),
        ({"cutmix_alpha": 1.0, "switch_prob": 0.25, "mode": "elem"},
         Switch([MixUp(1.0), CutMix(1.0)], [0.75, 0.25])),
        ({"prob": 0.5}, PerBatch(Sometimes(MixUp(1.0), 0.5))),
        ({"mixup_alpha": 0, "cutmix_minmax": (0.2, 0.8)}, PerBatch(CutMix(1, minmax=(0.2, 0.8)))),
        ({"mixup_alpha": 0, "cutmix_minmax": (0.2, 0.8), "correct_lam": False},
         PerBatch(CutMix(1.0, minmax=(0.2, 0.8)))),  # timm corrects these always
        ({"off_epoch": 9}, Schedule({0: PerBatch(MixUp(1.0)), 9: None})),
    ],
)  # fmt: skip
def test_timm_policy(arguments, expected):
    assert recipes.timm_policy(**arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "half"}, "'batch', 'pair' or 'elem'"),
        ({"switch_prob": 2}, "got switch_prob=2"),
        ({"prob": -0.1}, "got prob=-0.1"),
        ({"mixup_alpha": -1}, "got alpha=-1"),
        ({"cutmix_minmax": (0.8, 0.2)}, "minmax=(0.8, 0.2)"),
    ],
)
def test_timm_policy_out_of_range(arguments, says):
    with pytest.raises(bm.MixError, match=re.escape(says)):
        recipes.timm_policy(**arguments)


def test_an_uncorrected_lam_is_that_of_the_box_before_it_was_cut():
    policy = recipes.timm_policy(0, 1.0, mode="elem", correct_lam=False)
    plan = bm.draw(policy, bm.Key(0), 200, {"H": 32, "W": 32})
    corrected = bm.draw(CutMix(1.0), bm.Key(0), 200, {"H": 32, "W": 32})
    assert (plan.box == corrected.box).all()  # only the label is another
    side = (32 * np.sqrt(1 - plan.label_lam.astype(float))).astype(int)
    inside = ((plan.box[:, :, 0] > 0) & (plan.box[:, :, 1] < 32)).all(1)
    assert inside.sum() > 10
    assert (np.diff(plan.box[inside])[..., 0] == side[inside, None]).all()
    assert (plan.label_lam < plan.lam - 0.05).sum() > 50


# labels that do not fit memory -----------------------------------------------------------------


def test_pairs_of_21841_classes_never_make_a_dense_label():
    import tracemalloc

    batch, classes = 1024, 21_841
    ids = np.random.default_rng(0).integers(0, classes, batch)
    log_p = np.broadcast_to(np.float32(-np.log(classes)), (batch, classes))  # no memory of its own
    plan = bm.draw(recipes.mixup_imagenet.policy, bm.Key(0), batch, {}, pairing=Permutation())

    def peak(work):
        tracemalloc.start()
        try:
            value = work()
            return value, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def loss(log_p, y):
        return -log_p[np.arange(len(y)), y]

    value, used = peak(lambda: bm.losses.pairwise(loss, log_p, bm.pairs(ids, plan)))
    assert value == pytest.approx(np.log(classes), rel=1e-5)
    assert used < 1_000_000  # a dense float32 label is 89 MB
    _, dense = peak(lambda: bm.mix_labels(ids[:32], bm.Plan.identity(32), classes))
    assert dense >= 32 * classes * 4  # the measure sees what it is meant to see


# the command line ------------------------------------------------------------------------------


def test_train_of_a_timm_model_stops_mixing(monkeypatch, tmp_path, capsys):
    import torch

    from batchmix import _drawing
    from batchmix.cli import main

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads of small models mostly wait for each other

    draw, mixed = _drawing.draw, {}

    def noted(policy, key, *args, **options):
        plan = draw(policy, key, *args, **options)
        mixed.setdefault(key.epoch, set()).add(bool((plan.lam < 1).any()))
        return plan

    monkeypatch.setattr(_drawing, "draw", noted)
    words = "train digits --model timm:lcnet_035 --mixup 0.8 --cutmix 1 --mixup-off-epoch 1"
    words += " --mixup-mode pair --epochs 2 --limit-train 64 --batch-size 32 --accelerator cpu"
    with pytest.raises(SystemExit) as done:
        main([*words.split(), "--out", str(tmp_path / "run")])
    assert done.value.code == 0, capsys.readouterr().err
    assert mixed == {0: {True}, 1: {False}}
    torch.set_num_threads(threads)
