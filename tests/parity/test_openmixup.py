"""The same pixels and labels as the formulas of OpenMixup and RICAP, for the draws of a plan.

They are written here a second time, in torch. Labels are those that the pixels have: OpenMixup's
SmoothMix hands each image the share of the other.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

import batchmix as bm
from batchmix.policies import FMix, GridMix, Mosaic, ResizeMix, SmoothMix

B, C, H, W = 12, 4, 40, 26
X = torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(0))
Y = torch.arange(B) % C


def drawn(policy, step=0):
    return bm.draw(policy, bm.Key(1, 0, step), B, {"H": H, "W": W})


def masks(plan):
    """[B, 1, H, W]: the mask at every pixel, as torch stretches it to the nearest."""
    mask = torch.from_numpy(plan.mask).float()[:, None] / 255
    return functional.interpolate(mask, (H, W), mode="nearest-exact")


@pytest.mark.parametrize("policy", [FMix(), GridMix(), GridMix(7), SmoothMix()], ids=repr)
def test_masks(policy):
    """x (1 - mask) + x' mask, and y lam + y' (1 - lam)."""
    plan = drawn(policy)
    mask, partner = masks(plan), torch.from_numpy(plan.partner).long()
    torch.testing.assert_close(bm.mix(X, plan, "NCHW"), X * (1 - mask) + X[partner] * mask)
    lam = 1 - mask.mean((1, 2, 3))
    y, theirs = (functional.one_hot(ids, C) for ids in (Y, Y[partner]))
    want = lam[:, None] * y + (1 - lam[:, None]) * theirs
    torch.testing.assert_close(bm.mix_labels(Y, plan, C), want, rtol=0, atol=1e-5)


def middle_of(cells, n):
    """The cells in which the middles of n cells lie; torch rounds in float32, and may miss them."""
    return [(2 * k + 1) * cells // (2 * n) for k in range(n)]


@pytest.mark.parametrize("resample", ["nearest", "bilinear"])
def test_resizemix(resample):
    """The partner by `interpolate`, in its box; our weights are multiples of 1/256."""
    plan, want = drawn(ResizeMix(resample=resample)), X.clone()
    for row, partner in enumerate(plan.partner.tolist()):
        (top, bottom), (left, right) = plan.box[row].tolist()
        sides = (bottom - top, right - left)
        if resample == "nearest":
            small = X[partner][:, middle_of(H, sides[0])][..., middle_of(W, sides[1])]
        else:
            (small,) = functional.interpolate(X[partner][None], sides, mode="bilinear")
        want[row, :, top:bottom, left:right] = small
    got = bm.mix(X, plan, "NCHW")
    torch.testing.assert_close(got, want, rtol=0, atol=1 / 250 if resample == "bilinear" else 0)


def test_mosaic_resized():
    """Each partner by `interpolate`, in its quadrant."""
    plan, want = drawn(Mosaic()), X.clone()
    for layer in plan.layers:
        for row, partner in enumerate(layer.partner.tolist()):
            (top, bottom), (left, right) = layer.box[row].tolist()
            sides = (bottom - top, right - left)
            small = functional.interpolate(X[partner][None], sides, mode="bilinear")
            want[row, :, top:bottom, left:right] = small[0]
    torch.testing.assert_close(bm.mix(X, plan, "NCHW"), want, rtol=0, atol=1 / 250)


def test_ricap_in_four_pieces():
    """The loss of RICAP, the sum over four pieces of area times the loss of its label."""
    plan = drawn(Mosaic("crop", beta=0.3))
    logits = torch.randn(B, C, generator=torch.Generator().manual_seed(1))
    each = functional.cross_entropy(logits, Y, reduction="none")
    loss = sum(
        torch.from_numpy(plan.weights[:, k])
        * (each if not k else functional.cross_entropy(
            logits, Y[plan.layers[k - 1].partner], reduction="none"))
        for k in range(4)
    )  # fmt: skip
    soft = bm.mix_labels(Y, plan, C)
    got = -(soft * functional.log_softmax(logits, 1)).sum(1)
    np.testing.assert_allclose(got, loss, rtol=1e-5)
