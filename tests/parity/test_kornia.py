"""What kornia's own tests say of its MixUp and CutMix: a plan executes what kornia drew.

kornia's labels are (own, partner's, weight); the weight of MixUp is the partner's.
"""

import kornia.augmentation as ka
import numpy as np
import pytest
import torch

import batchmix as bm

X, Y = torch.rand(6, 3, 9, 14), torch.tensor([0, 3, 6, 2, 2, 5])
# the batch of kornia's tests: a row of ones and one of zeros, not square
TWO = torch.stack([torch.ones(1, 3, 4), torch.zeros(1, 3, 4)]), torch.tensor([1, 0])
BATCHES = pytest.mark.parametrize("batch", [(X, Y), TWO, (X[:1], Y[:1])], ids=["six", "two", "one"])
KEYS = {"data_keys": ["input", "class"]}


def plan_of(partner, boxes, opacity, images):
    """The rows of one mix."""
    size = tuple(images.shape[-2:])
    return bm.Plan(np.asarray(partner), boxes, opacity, "HW", size)


def assert_columns(plan, ids, columns):
    """(own, partner's, weight of the own), rows paired with themselves aside."""
    own, partner, lam = bm.pairs(ids, plan)
    assert columns[:, 0].tolist() == own.tolist()
    assert columns[:, 1].tolist() == partner.tolist()
    mixed = torch.from_numpy(plan.partner != np.arange(len(ids)))
    torch.testing.assert_close(columns[mixed, 2], lam[mixed], rtol=0, atol=1e-6)


@BATCHES
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options", [{}, {"lambda_val": (0.0, 0.0)}, {"lambda_val": (0.2, 0.4)}, {"same_on_batch": True}]
)
def test_mixup(options, batch, seed):
    torch.manual_seed(seed)
    transform = ka.RandomMixUpV2(p=1.0, **KEYS, **options)
    images, columns = transform(*batch)
    weight = transform._params["mixup_lambdas"]
    box = [[0, batch[0].shape[2]], [0, batch[0].shape[3]]]
    pairs = transform._params["mixup_pairs"].numpy()
    plan = plan_of(pairs, [box] * len(pairs), weight.numpy(), batch[0])
    torch.testing.assert_close(bm.mix(batch[0], plan, "NCHW"), images, rtol=0, atol=2e-7)
    own = columns.clone()
    own[:, 2] = 1 - own[:, 2]
    assert_columns(plan, batch[1], own)


@BATCHES
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta": 1e-7},  # all of the partner, or nothing
        {"cut_size": (0.2, 0.6)},
        {"same_on_batch": True},
        {"num_mix": 2},
        {"num_mix": 5},
    ],
    ids=str,
)
def test_cutmix(options, batch, seed):
    torch.manual_seed(seed)
    transform = ka.RandomCutMixV2(p=1.0, use_correct_lambda=True, **KEYS, **options)
    images, columns = transform(*batch)
    params, mixed = transform._params, batch[0].clone()
    assert len(columns) == len(params["mix_pairs"]) == options.get("num_mix", 1)
    for pairs, crop, triple in zip(params["mix_pairs"], params["crop_src"], columns):
        plan = plan_of(pairs.numpy(), boxes_of(crop), [1] * len(pairs), batch[0])
        bm.mix(mixed, plan, "NCHW", other=batch[0], out=mixed)  # each pastes over the one before
        if len(columns) == 1:
            assert_columns(plan, batch[1], triple)
    # kornia pastes a row over its own mix too, where a later mix pairs it with itself; here that is
    # no paste
    itself = (params["mix_pairs"][1:] == torch.arange(len(images))).any(0)
    assert torch.equal(mixed[~itself], images[~itself])


def boxes_of(crop):
    """kornia's corners [B, 4, (x, y)] have both ends; those of an empty box are inverted."""
    corners = crop.numpy().astype(int)
    return [
        [[c[0, 1], c[2, 1] + 1], [c[0, 0], c[2, 0] + 1]] if (c[2] >= c[0]).all() else [[0, 0]] * 2
        for c in corners
    ]


@BATCHES
@pytest.mark.parametrize(
    "transform",
    [ka.RandomMixUpV2(p=0.0, **KEYS), ka.RandomCutMixV2(p=0.0, use_correct_lambda=True, **KEYS)],
    ids=["MixUp", "CutMix"],
)
def test_nothing_is_mixed_without_chance(transform, batch):
    """kornia's weight is 0 then in both, which here is a lam of 1: the weight of the own row."""
    images, columns = transform(*batch)
    mixed = bm.Mixer(None, {0: bm.fields.Image("NCHW"), 1: bm.fields.Labels(7)})(batch)
    assert torch.equal(images, mixed[0])
    assert columns.reshape(-1, 3)[:, 2].tolist() == [0.0] * len(images)
    assert torch.equal(mixed[1].argmax(1), batch[1])
    assert (mixed[1].max(1).values == 1).all()
