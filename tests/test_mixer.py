"""Mixer and fields: structures, sizes, the step counter, resuming."""

import collections
import contextlib
import dataclasses
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import batchmix as bm
from batchmix.fields import Features, Grid, Ids, Image, Keep, Labels, Mask, Video
from batchmix.pairing import Reverse, Roll, Within
from batchmix.policies import CutMix, MixUp, PerPair, Schedule
from checks import SWITCH

Sample = collections.namedtuple("Sample", "image label")


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch as some programs make it."""

    image: object
    label: object
    name: str = "kept"


def images(xp, batch=4, seed=0):
    """float32 NCHW."""
    return xp.array(np.random.default_rng(seed).standard_normal((batch, 3, 8, 12)), "float32")


def labels(xp, batch=4):
    """Ids."""
    return xp.ids([k % 5 for k in range(batch)])


STRUCTURES = {
    "tuple": (lambda x, y: (x, y, "kept"), 0, 1),
    "list": (lambda x, y: [x, y, "kept"], 0, 1),
    "dict": (lambda x, y: {"x": x, "y": y, "id": "kept"}, "x", "y"),
    "ordered": (lambda x, y: collections.OrderedDict(x=x, y=y), "x", "y"),
    "user dict": (lambda x, y: collections.UserDict(x=x, y=y), "x", "y"),
    "namedtuple": (Sample, 0, 1),
    "dataclass": (Batch, "image", "label"),
    "nested": (lambda x, y: {"in": [x, "kept"], "out": {"y": y}}, ("in", 0), ("out", "y")),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures_are_kept_and_inputs_not_written_to(xp, structure):
    make, image, label = STRUCTURES[structure]
    x, y = images(xp), labels(xp)
    batch, before = make(x, y), xp.numpy(xp.copy(x))
    mixer = bm.Mixer(SWITCH, {image: Image("NCHW"), label: Labels(5)}, seed=1)
    mixed = mixer(batch, step=3, epoch=2)
    plan = bm.draw(SWITCH, bm.Key(1, 2, 3), 4, {"H": 8, "W": 12})
    assert type(mixed) is type(batch)
    want = repr_of(make(bm.mix(x, plan, "NCHW"), bm.mix_labels(y, plan, 5)), xp)
    assert repr_of(mixed, xp) == want
    np.testing.assert_array_equal(xp.numpy(x), before)
    assert repr_of(batch, xp) == repr_of(make(x, y), xp)


def repr_of(batch, xp):
    """A structure with its arrays as lists."""
    if dataclasses.is_dataclass(batch):
        batch = vars(batch)
    if isinstance(batch, str):
        return batch
    if isinstance(batch, collections.abc.Mapping):
        return {key: repr_of(value, xp) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [repr_of(value, xp) for value in batch]
    return xp.numpy(batch).tolist()


def test_the_mixer_counts_steps_and_epochs(xp):
    batch = (images(xp), labels(xp))
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(5)}, seed=1, rank=2)

    def key_of(mixed):
        """The key that explains a mixed batch."""
        for epoch in range(3):
            for step in range(4):
                plan = bm.draw(SWITCH, bm.Key(1, epoch, step, 2), 4, {"H": 8, "W": 12})
                want = xp.numpy(bm.mix(batch[0], plan, "NCHW"))
                if np.array_equal(want, xp.numpy(mixed[0])):
                    return epoch, step
        return None

    assert [key_of(mixer(batch)) for _ in range(2)] == [(0, 0), (0, 1)]
    assert key_of(mixer(batch, step=3, epoch=2)) == (
        2,
        3,
    )  # an address given leaves the count alone
    assert key_of(mixer(batch)) == (0, 2)
    assert [key_of(mixer(batch, epoch=1)) for _ in range(2)] == [(1, 0), (1, 1)]
    mixer.set_epoch(2)
    assert [key_of(mixer(batch)) for _ in range(2)] == [(2, 0), (2, 1)]


def test_resuming_goes_on_where_it_stopped(xp):
    batch = (images(xp), labels(xp))
    fields = {0: Image("NCHW"), 1: Labels(5)}
    straight = bm.Mixer(SWITCH, fields, seed=9)
    want = [xp.numpy(straight(batch)[0]) for _ in range(5)]
    first = bm.Mixer(SWITCH, fields, seed=9)
    for _ in range(3):
        first(batch)
    second = bm.Mixer(SWITCH, fields)
    second.load_state_dict(first.state_dict())
    for k in (3, 4):
        np.testing.assert_array_equal(xp.numpy(second(batch)[0]), want[k])


def test_ranks_draw_apart(xp):
    batch = (images(xp), labels(xp))
    a, b = (bm.Mixer(MixUp(1.0), {0: Image("NCHW")}, rank=r)(batch)[0] for r in (0, 1))
    assert not np.array_equal(xp.numpy(a), xp.numpy(b))


def test_image_mask_and_second_image_follow_one_plan(xp):
    ids = np.arange(4)[:, None, None] * np.ones((1, 8, 12), int)
    batch = {
        "image": xp.array(ids[:, None] * np.ones((1, 3, 1, 1)), "float32"),
        "mask": xp.ids(ids.tolist()),
        "depth": xp.array(ids, "float64"),
        "label": labels(xp),
        "note": ["a", "b", "c", "d"],
    }
    fields = {"image": Image("NCHW"), "mask": Mask("NHW"), "depth": Grid("NHW"), "note": Keep()}
    mixed = bm.Mixer(CutMix(), fields)(batch)
    image = xp.numpy(mixed["image"])
    for channel in range(3):
        np.testing.assert_array_equal(image[:, channel], xp.numpy(mixed["mask"]))
    np.testing.assert_array_equal(image[:, 0], xp.numpy(mixed["depth"]))
    assert xp.dtype(mixed["mask"]) == "int64"
    assert mixed["label"] is batch["label"]  # not named, so kept
    assert mixed["note"] is batch["note"]


@pytest.mark.parametrize(
    ("fields", "axes"),
    [
        ({"image": Image("NCHW")}, "HW"),
        ({"video": Video("NCTHW")}, "HW"),  # a box spans all frames
        ({"audio": Grid("NCT")}, "T"),
        ({"video": Video("NCTHW"), "audio": Grid("NCT")}, "T"),  # what both have
        ({"volume": Grid("NCDHW")}, "DHW"),
        ({"table": Features("NC")}, ""),
        ({"image": Image("NCHW"), "table": Features("NC")}, ""),
        ({"label": Labels(5)}, ""),
    ],
)
def test_which_axes_boxes_lie_on(fields, axes):
    batch = {
        "image": np.zeros((2, 3, 8, 12)),
        "video": np.zeros((2, 3, 5, 8, 12)),
        "audio": np.zeros((2, 1, 5)),
        "volume": np.zeros((2, 1, 4, 8, 12)),
        "table": np.zeros((2, 7)),
        "label": np.zeros(2, int),
    }
    assert bm.Mixer(MixUp(), fields).draw(batch).axes == axes


def test_axes_can_be_chosen():
    batch = {"video": np.zeros((2, 3, 5, 8, 12))}
    plan = bm.Mixer(MixUp(), {"video": Video("NCTHW")}, axes="THW").draw(batch)
    assert (plan.axes, plan.size) == ("THW", (5, 8, 12))


def test_two_streams(xp):
    """Own content from one shuffled stream, partners from another, as with zipped data sets."""
    one, two = ((images(xp, seed=s), labels(xp)) for s in (0, 1))
    mixer = bm.Mixer(MixUp(0.2), {0: Image("NCHW"), 1: Labels(5)})
    plan = mixer.draw(one, step=0, other=two)
    x, _ = mixer(one, step=0, other=two)
    a, b, lam = xp.numpy(one[0]), xp.numpy(two[0]), plan.lam.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(xp.numpy(x), lam * a + (1 - lam) * b[plan.partner], atol=1e-5)


def test_no_policy_still_makes_soft_labels(xp):
    x, y = bm.Mixer(None, {0: Image("NCHW"), 1: Labels(5, smoothing=0.1)})((images(xp), labels(xp)))
    np.testing.assert_array_equal(xp.numpy(x), xp.numpy(images(xp)))
    assert xp.numpy(y).max(1) == pytest.approx(0.92)


def test_pairing_is_passed_on():
    batch = (np.zeros((8, 1, 4, 4)), np.arange(8))
    for pairing in (Reverse(), Within(2)):
        plan = bm.Mixer(MixUp(), {0: Image("NCHW")}, pairing=pairing).draw(batch, step=0)
        want = bm.draw(MixUp(), bm.Key(0), 8, {"H": 4, "W": 4}, pairing=pairing)
        np.testing.assert_array_equal(plan.partner, want.partner)


def test_ids_field_takes_the_heavier_side():
    plan = bm.Plan([1, 0], [[[0, 2]]] * 2, [0.75, 0.25], "T", (2,))
    assert Ids("NT")(np.array([[1, 1], [9, 9]]), plan).tolist() == [[9, 9], [9, 9]]


def test_a_refused_batch_does_not_count(xp):
    mixer = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(5)})
    with pytest.raises(bm.MixError):
        mixer((images(xp), xp.ids([0, 1, 2, 7] if xp.looks else [[0, 1]])))
    want = bm.Mixer(SWITCH, {0: Image("NCHW"), 1: Labels(5)})((images(xp), labels(xp)))
    assert repr_of(mixer((images(xp), labels(xp))), xp) == repr_of(want, xp)


def test_a_refused_draw_does_not_count():
    """Nor does it tell the epoch."""
    mixer = bm.Mixer(Schedule({0: MixUp(1.0), 1: None}), {0: Features("NC")})
    for _ in range(2):
        with pytest.raises(bm.MixError, match="nobody has told it"):
            mixer.draw((np.zeros((2, 3)),))
    ringed = bm.Mixer(PerPair(MixUp(1.0)), {0: Features("NC")}, pairing=Roll(1))
    with pytest.raises(bm.MixError, match="PerPair"):
        ringed.draw((np.zeros((3, 3)),), epoch=2)
    start = {"seed": 0, "epoch": 0, "step": 0, "told": False}
    assert (mixer.state_dict(), ringed.state_dict()) == (start, start)


def test_a_refused_batch_gives_no_step_of_another_thread_back(monkeypatch):
    """One that is drawn while the first is about to be numbered."""
    mixer = bm.Mixer(MixUp(1.0), {0: Features("NC"), 1: Labels(2)})
    good, bad = (np.zeros((2, 1)), np.array([0, 1])), (np.zeros((2, 1)), np.array([0, 2]))

    class Between(contextlib.nullcontext):
        def __enter__(self):
            monkeypatch.setattr("batchmix._mixer.counting", contextlib.nullcontext())
            mixer(good)

    monkeypatch.setattr("batchmix._mixer.counting", Between())
    with pytest.raises(bm.MixError, match="got label 2"):
        mixer(bad)
    assert mixer.state_dict()["step"] == 1


def test_threads_get_steps_of_their_own():
    mixer = bm.Mixer(MixUp(1.0), {0: Features("NC")})
    batch, seen = (np.zeros((2, 1)),), []
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            futures = [
                pool.submit(lambda: [mixer.draw(batch).opacity[0] for _ in range(100)])
                for _ in range(8)
            ]
        seen = [plan for future in futures for plan in future.result()]
    finally:
        sys.setswitchinterval(switch)
    want = [bm.draw(MixUp(1.0), bm.Key(0, 0, step), 2, {}).opacity[0] for step in range(800)]
    assert sorted(seen) == sorted(want)
    assert mixer.state_dict()["step"] == 800


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: bm.Mixer(MixUp(), {0: Image}), "field 0 is .*Image"),
        (lambda: bm.Mixer(MixUp(), {0: "Image"}), "field 0 is 'Image'"),
        (lambda: bm.Mixer(MixUp(), {0: Labels(2)})(None), "looked for in a NoneType"),
        (lambda: bm.Mixer(MixUp(), {0: Image("NCHW")})(np.zeros((2, 3, 4, 4))), "in a ndarray"),
        (
            lambda: bm.Mixer(MixUp(), {"x": Labels(2)})(types.SimpleNamespace(x=1)),
            "looked for in a SimpleNamespace",
        ),
        (
            lambda: bm.Mixer(MixUp(), {"x": Labels(2)})(collections.defaultdict(int)),
            "it has \\[\\]",
        ),
        (lambda: Labels(0), "classes=0"),
        (lambda: Labels(-3), "classes=-3"),
        (lambda: Labels("10"), "classes='10'"),
        (lambda: Labels(10.0), "classes=10.0"),
        (lambda: Labels(smoothing=3), "smoothing=3"),
        (lambda: Image("NHHW"), "^Image: got layout='NHHW'"),
        (
            lambda: bm.Mixer(MixUp(), {}).load_state_dict({"seed": "a", "epoch": 0, "step": 0}),
            "integer",
        ),
    ],
)
def test_errors(call, says):
    with pytest.raises(bm.MixError, match=says):
        call()


def test_names_of_fields_are_their_own():
    assert repr(Image("NCHW")) == "Image(layout='NCHW')"
    assert isinstance(Image("NCHW"), Grid)
    assert isinstance(Mask("NHW"), Ids)
    assert Image("NCHW") != Video("NCHW")


@pytest.mark.parametrize("epoch", [2.5, -1, "1"])
def test_a_refused_epoch_leaves_the_count_alone(epoch):
    mixer = bm.Mixer(MixUp(1.0), {0: Features("NC")})
    batch = (np.zeros((2, 1)),)
    mixer(batch, epoch=3)
    with pytest.raises(bm.MixError, match="epoch="):
        mixer(batch, epoch=epoch)
    with pytest.raises(bm.MixError, match="epoch="):
        mixer.set_epoch(epoch)
    mixer(batch)
    assert mixer.state_dict() == {"seed": 0, "epoch": 3, "step": 2}


def test_a_refused_batch_of_a_new_epoch_leaves_the_count_alone():
    mixer = bm.Mixer(MixUp(1.0), {0: Labels(2)})
    mixer((np.array([0, 1]),), epoch=1)
    with pytest.raises(bm.MixError):
        mixer((np.array([0, 5]),), epoch=2)
    assert mixer.state_dict() == {"seed": 0, "epoch": 1, "step": 1}
