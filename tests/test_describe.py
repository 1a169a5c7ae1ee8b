"""What a plan and a mixer say of themselves: numbers for logs, tables for notebooks."""

import pickle
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Image, Labels
from batchmix.policies import (
    Columns,
    CutMix,
    FMix,
    Layers,
    MixUp,
    Mosaic,
    PerBatch,
    ReMix,
    ResizeMix,
    Schedule,
    Sometimes,
    Switch,
)
from batchmix.policies._kinds import summary_of

BOTH = Switch([MixUp(1.0), CutMix(1.0)], weights=[1, 3])
SIZE = {"H": 32, "W": 32}


def test_a_plan_describes_itself():
    plan = bm.draw(BOTH, bm.Key(0), 4000, SIZE)
    found = plan.describe(["mixup", "cutmix"])
    assert found["lam"] == pytest.approx(plan.lam.mean())
    assert found["hardness"] == pytest.approx(np.maximum(plan.lam, 1 - plan.lam).mean())
    assert found["unmixed"] == pytest.approx((plan.lam == 1).mean())
    assert found["unmixed"] + found["mixup"] + found["cutmix"] == pytest.approx(1)
    assert found["mixup"] == pytest.approx(0.25, abs=0.03)
    assert all(type(value) is float for value in found.values())
    assert list(plan.describe()) == ["lam", "hardness", "unmixed"]


def test_names_that_repeat_are_added_up():
    two = Switch([MixUp(0.2), MixUp(8.0)])
    found = summary_of(bm.draw(two, bm.Key(0), 400, {}), two)
    assert found["mix/mixup"] + found["mix/unmixed"] == pytest.approx(1)


def test_wrappers_are_looked_into():
    half = Sometimes(MixUp(1.0), 0.5)
    found = summary_of(bm.draw(half, bm.Key(0), 4000, {}), half)
    assert found["mix/unmixed"] == pytest.approx(0.5, abs=0.03)
    assert found["mix/mixup"] == pytest.approx(0.5, abs=0.03)
    off = Schedule.off_after(PerBatch(BOTH), epoch=2)
    for epoch, mixed in ((0, 1.0), (2, 0.0)):
        found = summary_of(bm.draw(off, bm.Key(0, epoch), 400, SIZE), off)
        assert list(found)[2:] == ["mix/unmixed", "mix/mixup", "mix/cutmix"]
        assert found["mix/mixup"] + found["mix/cutmix"] == mixed


def test_nothing_mixed_and_no_rows():
    nothing = bm.draw(None, bm.Key(0), 8, {})
    assert summary_of(nothing, None) == {"mix/lam": 1, "mix/hardness": 1, "mix/unmixed": 1}
    assert np.isnan(bm.draw(MixUp(), bm.Key(0), 0, {}).describe()["lam"])


def test_layers_count_what_is_seen():
    plan = bm.draw(Layers([CutMix(), CutMix()]), bm.Key(0), 64, SIZE)
    assert plan.describe()["hardness"] == pytest.approx(plan.weights.max(1).mean())


def batch():
    return np.zeros((8, 3, 16, 16), np.float32), np.arange(8)


def test_a_mixer_tells_of_its_last_batch_only():
    mixer = bm.Mixer(BOTH, {0: Image("NCHW"), 1: Labels(10)}, seed=0)
    with pytest.raises(bm.MixError, match="has mixed no batch"):
        mixer.summary()
    plan = mixer.draw(batch(), step=4)
    mixer.apply(batch(), plan)
    assert mixer.summary()["mix/lam"] == pytest.approx(plan.lam.mean())
    mixer(batch(), step=5)
    assert mixer.summary() == summary_of(mixer.draw(batch(), step=5), BOTH)


def test_the_last_plan_stays_out_of_copies_and_states():
    mixer = bm.Mixer(BOTH, {0: Image("NCHW"), 1: Labels(10)}, seed=0)
    mixer(batch())
    with pytest.raises(bm.MixError, match="has mixed no batch"):
        pickle.loads(pickle.dumps(mixer)).summary()
    assert set(mixer.state_dict()) == {"seed", "epoch", "step", "told"}


def test_a_mixer_says_what_it_is():
    said = repr(bm.Mixer(MixUp(0.4), {0: Image("NCHW"), 1: Labels(10)}, seed=7))
    assert all(part in said for part in ("MixUp(alpha=0.4", "NCHW", "classes=10", "'seed': 7"))


def test_a_mixer_is_a_table_in_a_notebook():
    fields = {"<image>": Image("NCHW"), 1: Labels(10)}
    mixer = bm.Mixer(MixUp(0.4), fields, seed=7)
    before = mixer._repr_html_()
    ElementTree.fromstring(before)  # well formed, though a key has brackets
    for part in ("MixUp(alpha=0.4", "Derangement", "&lt;image&gt;", "seed 7, epoch 0, step 0"):
        assert part in before
    mixer({"<image>": batch()[0], 1: batch()[1]})
    after = mixer._repr_html_()
    ElementTree.fromstring(after)
    assert "the last batch" in after
    assert "the last batch" not in before
    assert "step 1" in after


def test_a_policy_with_a_thousand_classes_says_so_in_a_line():
    policy = ReMix(MixUp(), range(1, 10_000))
    assert len(repr(policy)) < 200
    with pytest.raises(bm.MixError, match="> 0") as refused:
        ReMix(MixUp(), list(range(10_000)))
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("kinds", ["mixup", ["lam"], ["mixup", "unmixed"], [1, 2]])
def test_names_of_kinds_do_not_hide_what_is_told(kinds):
    plan = bm.draw(MixUp(), bm.Key(0), 4, SIZE)
    with pytest.raises(bm.MixError, match=r"Plan.describe: got kinds(.|\n)*a list of names"):
        plan.describe(kinds)


PLANS = {
    "mixup": (MixUp(1.0), SIZE),
    "cutmix": (CutMix(1.0), {"H": 8, "W": 20}),
    "sound": (CutMix(1.0), {"T": 50}),
    "table": (MixUp(1.0), {}),
    "volume": (CutMix(1.0), {"D": 4, "H": 8, "W": 6}),
    "mask": (FMix(), SIZE),
    "columns": (Columns(0.5), {"W": 9}),
    "source": (ResizeMix(), SIZE),
    "layers": (Mosaic(), SIZE),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_a_table_in_a_notebook(name):
    policy, size = PLANS[name]
    plan = bm.draw(policy, bm.Key(3), 12, size)
    html = plan._repr_html_()
    tree = ElementTree.fromstring(html)  # well formed
    assert len(html) < 60_000
    assert "and 4 more rows" in html
    weights = re.findall(r"own weight (\d\.\d\d)", html)
    assert weights == [f"{lam:.2f}" for lam in plan.lam[:8]]
    pictures = [svg for svg in tree.iter("svg") if svg.get("role") == "img"]
    pasted = [len(svg) > 1 for svg in pictures]
    assert pasted == (plan.lam[:8] < 1).tolist()


def test_a_box_is_drawn_where_it_is():
    plan = bm.Plan([1, 0], [[[0, 4], [2, 8]]] * 2, [1, 0.5], "HW", (8, 8))
    first, second = (
        svg for svg in ElementTree.fromstring(plan._repr_html_()).iter("svg") if svg.get("role")
    )
    where = {"x": "14", "y": "0", "width": "42", "height": "28"}
    assert where.items() <= first[1].attrib.items()
    assert second[1].get("fill-opacity") == "0.5"


def test_plans_without_rows_or_values_are_shown_by_name():
    assert bm.Plan.identity(0)._repr_html_() == "<code>Plan(0 rows)</code>"
