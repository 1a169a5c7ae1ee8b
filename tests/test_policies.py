"""What policies and pairings draw: ranges, rates, distributions, frozen streams."""

import hashlib
import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import batchmix as bm
from batchmix._columns import COLUMNS
from batchmix.pairing import Derangement, Permutation, Reverse, Roll, Within
from batchmix.policies import (
    CutMix,
    MixUp,
    Paste,
    PerBatch,
    PerPair,
    Request,
    Schedule,
    Sometimes,
    Switch,
)
from checks import PAIRINGS, POLICIES

N = 20_000
HW = {"H": 32, "W": 32}


def draw(policy, batch=N, size=HW, key=bm.Key(11), **more):  # noqa: B008
    """A large draw, so that shares are exact to about a percent."""
    return bm.draw(policy, key, batch, size, **more)


# --- distributions


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 8.0])
def test_mixup_follows_the_beta_law(alpha):
    """Kolmogorov's statistic, taken half-way between the steps of the lattice."""
    drawn = np.rint(draw(MixUp(alpha)).lam * 4096)
    counts = np.bincount(drawn.astype(int), minlength=4097).cumsum()[:-1] / N
    law = stats.beta(alpha, alpha).cdf((np.arange(4096) + 0.5) / 4096)
    assert np.abs(counts - law).max() < 1.63 / N**0.5  # 1 % level


def test_mixup_dominant_keeps_the_larger_share():
    lam = draw(MixUp(1.0, dominant=True)).lam
    assert lam.min() >= 0.5
    assert stats.kstest(lam, stats.uniform(0.5, 0.5).cdf).pvalue > 0.01


def test_cutmix_clipped_pastes_less_than_it_drew():
    """The paper's box at alpha 1 keeps 0.69 of a 32 px image, not one half."""
    assert draw(CutMix(1.0)).lam.mean() == pytest.approx(0.69, abs=0.01)


def test_cutmix_inside_is_unbiased():
    plan = draw(CutMix(1.0, placement="inside"), size={"H": 256, "W": 256})
    assert plan.lam.mean() == pytest.approx(0.5, abs=0.01)
    assert stats.kstest(plan.lam, stats.uniform().cdf).statistic < 0.015
    assert draw(CutMix(1.0, placement="inside")).lam.mean() == pytest.approx(0.5, abs=0.01)


def test_cutmix_sides_have_the_shape_of_the_grid():
    box = draw(CutMix(1.0, placement="inside"), size={"H": 40, "W": 200}).box
    sides = box[:, :, 1] - box[:, :, 0]
    assert np.abs(sides[:, 0] * 5 - sides[:, 1]).max() <= 5


@pytest.mark.parametrize("size", [{"T": 1000}, {"D": 64, "H": 64, "W": 64}])
def test_cutmix_share_is_right_for_any_number_of_axes(size):
    lam = draw(CutMix(1.0, placement="inside"), size=size).lam
    assert lam.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("placement", ["clipped", "inside"])
def test_every_position_is_reached(placement):
    """The first and the last row and column too."""
    box = draw(CutMix(1.0, placement=placement), size={"H": 5, "W": 7}).box
    for axis, n in enumerate((5, 7)):
        assert set(box[:, axis, 0]) >= set(range(n))
        assert set(box[:, axis, 1]) >= set(range(1, n + 1))


def test_cutmix_centres_are_uniform():
    """Each cell is covered as often as its mirror image."""
    plan = draw(CutMix(1.0), size={"T": 9}, batch=50_000)
    cover = np.array(
        [((plan.box[:, 0, 0] <= t) & (t < plan.box[:, 0, 1])).mean() for t in range(9)]
    )
    # an even side reaches one cell further to the left, as in the paper's code
    assert np.abs(cover - cover[::-1]).max() < 0.05


def test_cutmix_minmax_sides():
    box = draw(CutMix(minmax=(0.25, 0.5)), size={"H": 16, "W": 40}).box
    sides = box[:, :, 1] - box[:, :, 0]
    assert set(sides[:, 0]) == set(range(4, 9))  # both ends included
    assert set(sides[:, 1]) == set(range(10, 21))
    assert abs(np.corrcoef(sides.T)[0, 1]) < 0.05
    assert (draw(CutMix(minmax=(0.5, 0.5)), size={"H": 16, "W": 40}).lam == 0.75).all()


def test_parameters_may_be_at_their_limits():
    box = draw(CutMix(minmax=(0, 1)), size={"T": 4}).box[:, 0]
    assert set(box[:, 1] - box[:, 0]) == set(range(5))
    assert set(draw(MixUp(1e-9), 64).lam) <= {0, 1}
    assert set(draw(MixUp(1e9), 64).lam) == {0.5}


def test_switch_and_sometimes_rates():
    plan = draw(Sometimes(Switch([MixUp(0.8), CutMix(1.0)], [1, 3]), 0.4))
    counts = [(plan.kind == kind).mean() for kind in (-1, 0, 1)]
    assert counts == pytest.approx([0.6, 0.1, 0.3], abs=0.012)
    assert (plan.lam[plan.kind == -1] == 1).all()
    assert (plan.opacity[(plan.kind == 1) & (plan.lam < 1)] == 1).all()
    assert draw(Sometimes(MixUp(), 0)).lam.min() == 1
    assert (draw(Sometimes(MixUp(), 1)).kind == 0).all()


def test_weights_may_be_0_and_a_policy_may_be_alone():
    assert (draw(Switch([MixUp(0.8), CutMix(1.0)], [0, 3]), 64).kind == 1).all()
    alone = draw(Switch([MixUp(0.8)]), 64)
    assert (alone.kind == 0).all()
    assert (alone.lam < 1).any()


def test_per_batch_rates_are_those_of_batches():
    policy = PerBatch(Sometimes(Switch([MixUp(0.8), CutMix(1.0)], [0.25, 0.75]), 0.5))
    kinds = [set(draw(policy, 4, key=bm.Key(0, 0, s)).kind.tolist()) for s in range(2000)]
    assert all(len(k) == 1 for k in kinds)
    rate = [sum(k == {kind} for k in kinds) / 2000 for kind in (-1, 0, 1)]
    assert rate == pytest.approx([0.5, 0.125, 0.375], abs=0.04)


def test_per_pair_shares_and_pairs_differ():
    plan = draw(PerPair(MixUp(1.0)), 101, pairing=Reverse())
    np.testing.assert_array_equal(plan.opacity, plan.opacity[::-1])
    assert len(set(plan.opacity[:50].tolist())) > 40
    assert plan.lam[50] == 1  # the middle row of an odd batch is its own partner


@pytest.mark.parametrize("pairing", [Roll(1), Permutation(), Derangement()])
def test_per_pair_needs_mutual_partners(pairing):
    with pytest.raises(bm.MixError, match="each other's partner"):
        draw(PerPair(MixUp(1.0)), 8, pairing=pairing)


def test_schedule_by_epoch_and_step():
    policy = Schedule({1: MixUp(1.0), 3: CutMix(), 5: None})
    kinds = [draw(policy, 64, key=bm.Key(0, epoch)) for epoch in range(7)]
    assert [(p.lam == 1).all() for p in kinds] == [True, False, False, False, False, True, True]
    assert (kinds[3].opacity[kinds[3].lam < 1] == 1).all()
    by_step = Schedule({2: MixUp(1.0)}, by="step")
    assert (draw(by_step, 64, key=bm.Key(0, 9, 1)).lam == 1).all()
    assert (draw(by_step, 64, key=bm.Key(0, 0, 2)).lam < 1).any()


def test_off_after_mixes_for_so_many_epochs():
    policy = Schedule.off_after(MixUp(1.0), epoch=2)
    mixed = [(draw(policy, 64, key=bm.Key(0, epoch)).lam < 1).any() for epoch in range(4)]
    assert mixed == [True, True, False, False]


def test_stages_may_come_in_any_order():
    policy = Schedule([(3, None), (0, MixUp(1.0))])
    assert policy == Schedule({0: MixUp(1.0), 3: None})
    assert (draw(policy, 64, key=bm.Key(0, 2)).lam < 1).any()
    assert (draw(policy, 64, key=bm.Key(0, 3)).lam == 1).all()


@dataclass(frozen=True)
class Checker:
    """A user's policy: a mask of every second cell, the partner squeezed into the box."""

    def sample(self, request):
        batch, (size,) = len(request.partner), request.size.values()
        mask = np.tile(np.arange(size) % 2, (batch, 1))
        whole = np.tile([[0, size]], (batch, 1, 1))
        zeros = np.zeros(batch, np.int8)
        return Paste(whole, np.full(batch, 0.3), zeros, mask=mask, source=whole, label_lam=zeros)


def test_parts_that_only_one_arm_has_are_filled_in():
    plan = draw(Switch([CutMix(), Checker()]), 200, {"T": 8})
    cut, checked = plan.kind == 0, plan.kind == 1
    assert (plan.mask[cut] == 1).all()
    np.testing.assert_array_equal(plan.source[cut], plan.box[cut])
    np.testing.assert_array_equal(plan.label_lam[cut], plan.lam[cut])
    assert (plan.label_lam[checked] == 0).all()
    np.testing.assert_allclose(plan.lam[checked], 1 - 1229 / 4096 / 2)  # put on the lattice


@dataclass(frozen=True)
class Labelled:
    """A user's policy that says what the labels are, and has no mask."""

    def sample(self, request):
        drawn = MixUp(1.0).sample(request)
        return replace(drawn, label_lam=np.full(len(request.partner), 0.25))


@pytest.mark.parametrize("part", ["mask", "source", "label_lam"])
def test_each_part_may_come_alone(part):
    whole, zeros = np.tile(np.int32([[0, 8]]), (4, 1, 1)), np.zeros(4, np.int8)
    parts = {"mask": np.full((4, 8), 0.5), "source": whole // 2, "label_lam": np.full(4, 0.25)}
    plan = draw(Answering(Paste(whole, np.ones(4), zeros, **{part: parts[part]})), 4, {"T": 8})
    np.testing.assert_array_equal(getattr(plan, part), parts[part])
    assert plan.lam.tolist() == [0.5 if part == "mask" else 0] * 4


def test_what_is_shared_between_draws_cannot_be_written_to():
    request = Request(np.random.RandomState(0), bm.Key(0), np.arange(4, dtype=np.int32), {"T": 8})
    mixup, cutmix = (policy.sample(request) for policy in (MixUp(), CutMix()))
    for shared in (mixup.box, mixup.kind, cutmix.opacity, cutmix.kind):
        with pytest.raises(ValueError, match="read-only"):
            shared[:] = 0


def test_a_part_is_kept_where_others_are_missing_everywhere():
    plan = draw(Switch([CutMix(), Labelled()]), 200, {"T": 8})
    assert plan.mask is None
    assert plan.source is None
    np.testing.assert_array_equal(plan.label_lam[plan.kind == 0], plan.lam[plan.kind == 0])
    assert (plan.label_lam[plan.kind == 1] == 0.25).all()


# --- pairings


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("batch", [0, 1, 2, 3, 7, 8])
def test_pairings_are_permutations(pairing, batch):
    partner = draw(None, batch, pairing=PAIRINGS[pairing]).partner
    assert sorted(partner.tolist()) == list(range(batch))


@pytest.mark.parametrize("batch", [2, 3, 4, 9])
def test_derangement_has_no_self_pairs_and_all_others(batch):
    seen = np.zeros((batch, batch))
    for step in range(1500):
        partner = draw(None, batch, key=bm.Key(0, 0, step), pairing=Derangement()).partner
        seen[np.arange(batch), partner] += 1
    assert np.diag(seen).sum() == 0
    off = seen[~np.eye(batch, dtype=bool)] / 1500
    assert off == pytest.approx(1 / (batch - 1), abs=0.06)


def test_reverse_and_roll_are_those_of_timm_and_torchvision():
    assert draw(None, 5, pairing=Reverse()).partner.tolist() == [4, 3, 2, 1, 0]
    assert draw(None, 5, pairing=Roll(1)).partner.tolist() == np.roll(np.arange(5), 1).tolist()


@pytest.mark.parametrize(("batch", "groups"), [(12, 3), (10, 4), (3, 5), (0, 2)])
def test_within_stays_within(batch, groups):
    partner = draw(None, batch, pairing=Within(groups, Permutation())).partner
    group = np.concatenate(
        [np.full(len(part), k) for k, part in enumerate(np.array_split(range(batch), groups))]
    )
    np.testing.assert_array_equal(group, group[partner])


@dataclass(frozen=True)
class SameClass:
    """A user's pairing: the next row of one's own class."""

    def pair(self, rng, batch, hints):
        partner = np.arange(batch)
        for label in np.unique(hints["labels"]):
            (rows,) = np.nonzero(hints["labels"] == label)
            partner[rows] = np.roll(rows, 1)
        return partner


def test_hints_reach_the_pairing():
    labels = np.array([0, 1, 0, 1, 1, 2])
    plan = draw(MixUp(), 6, pairing=SameClass(), hints={"labels": labels})
    np.testing.assert_array_equal(labels[plan.partner], labels)
    inside = draw(MixUp(), 6, pairing=Within(2, SameClass()), hints={"labels": labels})
    assert inside.partner.tolist() == [2, 1, 0, 4, 3, 5]


# --- the stream is part of the interface: runs must be replayable by later versions

GOLDEN = Path(__file__).with_name("golden.json")  # written by make golden


def digest(policy, pairing):
    """Of all that is drawn, for one key."""
    plan = bm.draw(policy, bm.Key(1, 2, 3, 4), 65, {"H": 24, "W": 40}, pairing=pairing)
    given = {k: v for k, v in plan.columns().items() if not COLUMNS[k.partition(".")[0]].derived}
    first = ("partner", "box", "opacity", "kind")
    parts = (*(given.pop(name) for name in first), *given.values())
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()[
        :16
    ]


def digests():
    """Of every policy and pairing that is tested."""
    return {
        "policies": {name: digest(policy, Reverse()) for name, policy in POLICIES.items()},
        "pairings": {name: digest(None, pairing) for name, pairing in PAIRINGS.items()},
    }


def test_streams_are_frozen():
    """A new one is added by `make golden`; one that is there never changes."""
    assert digests() == json.loads(GOLDEN.read_text()), "run `make golden` after adding a policy"


def test_the_address_reaches_every_bit():
    """Parts of 2^32 and more do not run into their neighbours; a seed may have any size."""
    one, two = bm.Key(5 + (7 << 32), 1, 2, 3), bm.Key(5, 7, 1 + (2 << 32), 3)
    keys = [one, two, bm.Key(5 + (1 << 200)), bm.Key(5), bm.Key(0, 2**64 - 1), bm.Key(0, 0, 2**63)]
    drawn = {draw(MixUp(1.0), 16, {}, key).opacity.tobytes() for key in keys}
    assert len(drawn) == len(keys)
    with pytest.raises(bm.MixError, match="below 2\\^64"):
        draw(MixUp(1.0), 2, {}, bm.Key(0, 2**64))


def test_policies_are_values():
    policy = Switch([Schedule({0: MixUp(0.8), np.int64(90): None}), CutMix(minmax=[0.2, 0.8])])
    assert hash(policy) == hash(pickle.loads(pickle.dumps(policy)))
    assert eval(repr(policy)) == policy
    with pytest.raises(TypeError):
        policy.policies[0].stages[0] = None


@pytest.mark.parametrize(
    "make",
    [
        lambda: CutMix(minmax=0.3),
        lambda: CutMix(minmax="ab"),
        lambda: CutMix(minmax=(0.2, 0.5, 0.8)),
        lambda: Switch([MixUp()], ["a"]),
        lambda: Switch([MixUp(), MixUp()], [np.inf, 1]),
        lambda: Switch([MixUp(), MixUp()], [np.nan, 1]),
        lambda: Switch([MixUp(), MixUp()], [-1, 2]),
        lambda: MixUp(1.7e308),
        lambda: MixUp(5e-324),
        lambda: Schedule({"a": None}),
        lambda: Schedule(3),
        lambda: Schedule([(0, None), (0, MixUp())]),
        lambda: Within("2"),
        lambda: bm.draw(None, bm.Key(0), 2, {"H": 2.7, "W": 4}),
        lambda: bm.draw(None, bm.Key(0), 2, {"H": "9"}),
        lambda: bm.draw(None, bm.Key(0), 2, {"T": 2**31}),
        lambda: bm.draw(None, bm.Key(0), 2, {"N": 2}),
        lambda: bm.draw(None, bm.Key(0), 2, [4, 4]),
        lambda: bm.draw(None, bm.Key(0), 2.0, {}),
        lambda: bm.draw(None, bm.Key(1.5), 2, {}),
    ],
)
def test_what_does_not_fit_is_a_mix_error(make):
    with pytest.raises(bm.MixError):
        make()


@dataclass(frozen=True)
class Answering:
    """A user's policy, or pairing, that answers with anything."""

    answer: object

    def sample(self, request):
        return self.answer

    def pair(self, rng, batch, hints):
        return self.answer


@pytest.mark.parametrize("answer", [None, (1, 2), {}])
def test_an_answer_that_is_no_paste(answer):
    with pytest.raises(bm.MixError, match="`sample` returned a"):
        draw(Answering(answer), 4)


@pytest.mark.parametrize("partner", [[1, 0], [0, 1, 2, 3, 0], [[0, 1]]])
def test_partners_of_another_number_of_rows(partner):
    with pytest.raises(bm.MixError, match="the pairing gave partners of shape"):
        draw(MixUp(), 4, pairing=Answering(partner))


@pytest.mark.parametrize("partner", [[4, 0, 1, 2], [9, 0, 1, 2], [-1, 0, 1, 2]])
def test_per_pair_with_partners_that_are_no_rows(partner):
    with pytest.raises(bm.MixError, match="each other's partner"):
        draw(PerPair(MixUp()), 4, pairing=Answering(partner))


@dataclass(frozen=True)
class Asked:
    """A user's policy that keeps what it is asked."""

    requests: list

    def sample(self, request):
        self.requests.append(request)
        return MixUp(1.0).sample(request)


@pytest.mark.parametrize("wrap", [lambda p: p, PerBatch, PerPair, lambda p: Switch([p, MixUp()])])
def test_every_policy_is_asked_alike(wrap):
    key, asked = bm.Key(1, 2, 3, 4), []
    draw(wrap(Asked(asked)), 8, {"H": 4, "W": 6}, key, pairing=Reverse())
    (request,) = asked
    assert request.key == key
    assert dict(request.size) == {"H": 4, "W": 6}
    assert request.partner.dtype == np.int32
    assert 1 <= len(request.partner) <= 8


def test_arrays_of_any_memory_and_any_number_of_axes():
    whole = np.tile(np.int32([[0, 8]]), (4, 1, 1))
    kind = np.zeros(4, np.int8)
    plan = draw(Answering(Paste(whole, np.broadcast_to(0.5, 4), kind)), 4, {"T": 8})
    assert plan.lam.tolist() == [0.5] * 4
    plan = draw(Answering(Paste(whole.tolist(), [0.5] * 4, kind.tolist())), 4, {"T": 8})
    assert plan.lam.tolist() == [0.5] * 4
    for opacity in (np.ones(4, int), np.ones(4, np.float16), np.ones(4, bool)):
        assert draw(Answering(Paste(whole, opacity, kind)), 4, {"T": 8}).lam.tolist() == [0] * 4
    assert draw(CutMix(), 4, dict(zip("ABDEFGHIJ", [2] * 9))).box.shape == (4, 9, 2)


def test_more_policies_than_kinds():
    with pytest.raises(bm.MixError, match="1 to 127"):
        Switch([MixUp()] * 128)
    assert (draw(Switch([MixUp()] * 127), 64).kind >= 0).all()
