"""torch-audiomentations: MixTransform in its Compose, and the rule of its Mix on the same draws."""

import numpy as np
import pytest
import torch
from torch_audiomentations import Compose, Gain, PolarityInversion
from torch_audiomentations.augmentations.mix import Mix

import batchmix as bm
import oracle
from batchmix.adapters.torch_audiomentations import MixTransform
from batchmix.fields import Audio, Grid, Labels, PaddingMask, Targets
from batchmix.policies import SNR, CutMix, MixUp, Sometimes, Switch

B, C, T, K = 6, 2, 400, 5
torch.manual_seed(0)
X = torch.randn(B, C, T) * torch.logspace(-1, 0, B)[:, None, None]
Y = torch.nn.functional.one_hot(torch.arange(B) % K, K).float()[:, None, None].repeat(1, C, 1, 1)
FRAMES = (torch.rand(B, C, 10, K) > 0.6).float()
UNION = {"samples": Audio("NCT"), "targets": Labels(rule="union")}


def made(policy=SNR(0, 5), fields=UNION):  # noqa: B008  immutable values
    return MixTransform(bm.Mixer(policy, fields, seed=3))


def plan_of(policy, labels=Y):
    """The first plan of such a transform."""
    fields = {"samples": Audio("NCT"), "targets": Labels(K)}
    batch = {"samples": X, "targets": labels.amax((1, 2))}
    return bm.Mixer(policy, fields, seed=3).draw(batch, step=0)


def test_samples_and_targets_are_those_of_the_plan():
    for policy in (SNR(0, 5), Switch([MixUp(1.0), CutMix()]), Sometimes(CutMix(), 0.5)):
        mixed, plan = made(policy)(X, 8000, Y, 1), plan_of(policy)
        torch.testing.assert_close(mixed.samples, bm.mix(X, plan, "NCT"), rtol=0, atol=0)
        want = bm.mix_labels(Y[:, 0, 0], plan, K, rule="union")
        torch.testing.assert_close(mixed.targets, want[:, None, None].repeat(1, C, 1, 1))
        assert (mixed.sample_rate, mixed.target_rate) == (8000, 1)


def test_in_a_compose_with_others():
    chain = Compose(
        [
            PolarityInversion(p=1.0, output_type="dict"),
            made(),
            Gain(6, 6.000001, p=1.0, output_type="dict"),
        ],
        output_type="dict",
    )
    mixed = chain(X, 8000, Y, 1)
    plain = made()(-X, 8000, Y, 1)
    torch.testing.assert_close(mixed.samples, plain.samples * 10 ** (6 / 20))
    torch.testing.assert_close(mixed.targets, plain.targets)
    chain.eval()
    assert chain(X, 8000, Y, 1).samples is X


def test_plans_differ_from_call_to_call_and_stay_when_frozen():
    mix = made(MixUp(1.0))
    first, second = mix(X, 8000, Y).samples, mix(X, 8000, Y).samples
    assert not torch.equal(first, second)
    mix.freeze_parameters()
    assert torch.equal(mix(X, 8000, Y).samples, second)
    mix.unfreeze_parameters()
    assert not torch.equal(mix(X, 8000, Y).samples, second)
    assert mix.mixer.step == 3


def test_samples_alone():
    mix = made(MixUp(1.0), {"samples": Audio("NCT")})
    torch.testing.assert_close(mix(X).samples, bm.mix(X, plan_of(MixUp(1.0)), "NCT"))
    kept = made(MixUp(1.0), {"samples": Audio("NCT")})(X, 8000, FRAMES, 200)
    assert torch.equal(kept.targets, FRAMES)  # mix_target="original"


@pytest.mark.parametrize("policy", [CutMix(), Switch([CutMix(), MixUp(1.0)])], ids=repr)
def test_frames_follow_the_samples(policy):
    plan = plan_of(policy).at({"T": 10})
    cells = FRAMES.numpy()
    union = made(policy, {"samples": Audio("NCT"), "targets": PaddingMask("NCTK")})
    np.testing.assert_array_equal(
        union(X, 8000, FRAMES, 200).targets > 0, oracle.mix(cells, plan, "NCTK") > 0
    )
    blend = made(policy, {"samples": Audio("NCT"), "targets": Grid("NCTK")})
    np.testing.assert_allclose(
        blend(X, 8000, FRAMES, 200).targets, oracle.mix(cells, plan, "NCTK"), atol=1e-6
    )


def test_numbers_of_whole_clips_have_the_shares_of_labels():
    """One frame has no place on the clip: what a span pastes counts by its length."""
    numbers = torch.arange(float(B))[:, None, None, None].expand(-1, X.shape[1], -1, -1)
    mixer = bm.Mixer(CutMix(1.0), {"samples": Audio("NCT"), "targets": Targets()}, seed=3)
    plan = mixer.but().draw({"samples": X, "targets": numbers})
    assert ((plan.lam > 0) & (plan.lam < 1)).any()
    found = MixTransform(mixer)(X, 8000, numbers, 1).targets
    own, theirs = np.arange(B), plan.partner
    want = plan.lam * own + (1 - plan.lam) * theirs
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor(want).float())


@pytest.mark.parametrize("field", [PaddingMask("NCTK"), Grid("NCTK")])
def test_one_frame_cannot_follow_a_part_of_the_clip(field):
    fields = {"samples": Audio("NCT"), "targets": field}
    with pytest.raises(bm.MixError, match="one frame, and a part of the clip is pasted"):
        MixTransform(bm.Mixer(CutMix(1.0), fields, seed=3))(X, 8000, Y, 1)
    assert (
        MixTransform(bm.Mixer(MixUp(1.0), fields, seed=3))(X, 8000, Y, 1).targets.shape == Y.shape
    )


def test_what_is_refused():
    with pytest.raises(bm.MixError, match="of several frames"):
        made()(X, 8000, FRAMES, 200)
    with pytest.raises(bm.MixError, match="no targets"):
        made()(X, 8000)
    for fields in ({"x": Audio("NCT")}, UNION | {"more": Audio("NCT")}):
        with pytest.raises(bm.MixError, match="samples and targets"):
            made(fields=fields)
    with pytest.raises(bm.MixError, match="MixTransform"):
        MixTransform(MixUp())


def test_the_rule_of_its_mix():
    """The same partners and ratios: its samples are 1 + g times ours, its targets the union."""
    torch.manual_seed(1)
    mix = Mix(0.0, 5.0, p=1.0, output_type="dict")
    theirs = mix(X, 8000, Y, 1)
    ratio = mix.transform_parameters["snr_in_db"].numpy()
    partner = mix.transform_parameters["sample_idx"].numpy()
    level = X.numpy().astype(float)
    for row in range(B):
        for channel in range(C):  # it measures each channel alone
            mine, other = (np.sqrt((level[k, channel] ** 2).mean()) for k in (row, partner[row]))
            g = mine / other * 10 ** (-ratio[row] / 20)
            a = g / (1 + g)
            plan = bm.Plan([1, 0], [[[0, T]]] * 2, [a, 0], "T", (T,))
            pair = X[[row, int(partner[row])], channel]
            mixed = bm.mix(pair, plan, "NT")[0] * (1 + g)
            torch.testing.assert_close(
                theirs.samples[row, channel], mixed.float(), rtol=1e-4, atol=1e-4
            )
            labels = bm.mix_labels(Y[[row, int(partner[row])], 0, 0], plan, K, rule="union")[0]
            torch.testing.assert_close(theirs.targets[row, channel, 0], labels)


def test_snr_draws_what_its_mix_would():
    """At a ratio that is no range, of rows of one channel, the two are one up to the level."""
    x = X[:, :1]
    fields = {"samples": Audio("NCT"), "targets": Labels(K, rule="union")}
    plan = bm.Mixer(SNR(3, 3), fields, seed=3).draw({"samples": x, "targets": Y[:, 0, 0]})
    mix = Mix(3.0, 3.0, p=1.0, output_type="dict")
    mix.transform_parameters = {
        "snr_in_db": torch.full((B,), 3.0), "sample_idx": torch.tensor(plan.partner.tolist()),
    }  # fmt: skip
    theirs = mix.apply_transform(x, 8000, Y[:, :1], 1)
    ours = bm.mix(x, plan, "NCT") / (1 - torch.tensor(plan.opacity))[:, None, None]
    torch.testing.assert_close(ours, theirs.samples, rtol=0, atol=5e-3)
    labels = bm.mix_labels(Y[:, 0, 0], plan, K, rule="union")
    torch.testing.assert_close(labels, theirs.targets[:, 0, 0])
