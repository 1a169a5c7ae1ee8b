"""Each check against a mixer that is wrong in just that, and against one that is right."""

import importlib.metadata
import json
import random
import runpy

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix._audit._checks import CHECKS
from batchmix.fields import (
    Audio,
    BoundingBoxes,
    Features,
    Grid,
    Image,
    Labels,
    Mask,
    Video,
)
from batchmix.pairing import Derangement, Permutation
from batchmix.policies import (
    CutMix,
    FMix,
    GridMix,
    Layers,
    MixUp,
    Mosaic,
    ResizeMix,
    Switch,
)
from pages import DOCS

ALONG = ("mask", "onehot_mask", "boxes", "id")  # with the images
IDS = {name: name for name in ("image", "label", *ALONG)}
HOW = {"array": torch.tensor, "call": "dict", "keys": IDS, "calls": 4}
LAYOUTS = {4: "NCHW", 5: "NCTHW"}
ONE_OF_BOTH = Switch([MixUp(0.8), CutMix(1.0)])


class Right:
    """Mixes a dict; what a test breaks it says by replacing a method."""

    pairing = Derangement()
    policy = CutMix(1.0)

    def __init__(self):
        self.step = 0

    def key(self):
        """Another one for each call."""
        self.step += 1
        return bm.Key(0, 0, self.step)

    def __call__(self, batch):
        x = batch["image"]
        size = {"H": x.shape[-2], "W": x.shape[-1]}
        plan = bm.draw(self.policy, self.key(), len(x), size, pairing=self.pairing)
        mixed = dict(batch)
        mixed["image"] = self.images(x, plan)
        mixed["label"] = self.labels(bm.mix_labels(batch["label"], plan, 10), x)
        mixed["mask"] = self.masks(batch["mask"], plan)
        mixed["onehot_mask"] = bm.fields.Grid(LAYOUTS[x.ndim])(batch["onehot_mask"], plan)
        mixed["boxes"] = self.boxes(batch["boxes"], plan)
        return mixed

    def images(self, x, plan):
        """Integers that are too wide to be averaged are pasted."""
        field = bm.fields.Ids if x.dtype == torch.int64 else bm.fields.Grid
        return field(LAYOUTS[x.ndim])(x, plan)

    def labels(self, soft, x):
        """As they should be."""
        return soft

    def masks(self, m, plan):
        """Along with the images."""
        return bm.fields.Ids(LAYOUTS[m.ndim + 1].replace("C", ""))(m, plan)

    def boxes(self, boxes, plan):
        """Cut as their pixels are."""
        return bm.fields.BoundingBoxes()(boxes, plan)


def broken(**parts):
    """A mixer with other methods."""
    return type("Broken", (Right,), parts)()


def wrong_labels_where(when):
    """The classes are shifted by one in one kind of batch."""
    return broken(labels=lambda _, soft, x: soft.roll(1, 1) if when(x) else soft)


def plain(x):
    """The batch that differs in nothing from the common one."""
    return len(x) == 8 and x.ndim == 4 and x.dtype == torch.float32 and x.shape[-1] == 20


def writing(name):
    """Writes into an input."""

    def call(self, batch):
        mixed = Right.__call__(self, batch)
        batch[name] += 1
        return mixed

    return broken(__call__=call)


def with_field(name, change):
    """Answers with another value of a field."""

    def call(self, batch):
        mixed = Right.__call__(self, batch)
        mixed[name] = change(mixed[name], batch[name])
        return mixed

    return broken(__call__=call)


def without(name):
    """A field is lost."""

    def call(self, batch):
        mixed = Right.__call__(self, batch)
        del mixed[name]
        return mixed

    return broken(__call__=call)


def replacing(self, batch):
    """Changes the dict of the caller."""
    batch.update(Right.__call__(self, dict(batch)))
    return batch


def leaking(self, x, plan):
    """Cuts by multiplication: 0 times NaN is NaN."""
    inside = torch.zeros(len(x), 1, *x.shape[2:], dtype=x.dtype)
    for row, box in enumerate(plan.box):
        inside[row, ..., box[0][0] : box[0][1], box[1][0] : box[1][1]] = 1
    return x * (1 - inside) + x[torch.as_tensor(plan.partner).long()] * inside


def theirs(boxes, plan):
    """The boxes of the partners, as they were."""
    return boxes[torch.as_tensor(plan.partner).long()]


def key_of(draw):
    """Seeds from a generator that the whole program shares."""
    return lambda self: bm.Key(int(draw()))


class Repeats(Right):
    """Each pass over the data is the same."""

    def set_epoch(self, epoch):
        self.step = 0


BROKEN = {  # check: mixers that it has to find
    "label error, even batch": [wrong_labels_where(plain)],
    "label error, odd batch": [wrong_labels_where(lambda x: len(x) == 7)],
    "label error, one row": [wrong_labels_where(lambda x: len(x) == 1)],
    "label error, small images": [wrong_labels_where(lambda x: x.shape[-1] == 7)],
    "label error, video": [wrong_labels_where(lambda x: x.ndim == 5)],
    "label error, float16": [wrong_labels_where(lambda x: x.dtype == torch.float16)],
    "label error, bfloat16": [wrong_labels_where(lambda x: x.dtype == torch.bfloat16)],
    "label error, uint8": [wrong_labels_where(lambda x: x.dtype == torch.uint8)],
    "label error, int64": [wrong_labels_where(lambda x: x.dtype == torch.int64)],
    "pixel sum": [
        broken(images=lambda _, x, plan: bm.mix(x, plan, LAYOUTS[x.ndim]) * 2),
        broken(images=lambda _, x, plan: bm.mix(x, plan, LAYOUTS[x.ndim]) - 1),
    ],
    "label sum": [broken(labels=lambda _, soft, x: soft * 1.01)],
    "other dtype": [with_field("image", lambda new, old: new.to(torch.float32))],
    "own partners": [broken(pairing=Permutation())],
    "unmixed rows": [broken(policy=None)],
    "writes to inputs": [
        *map(writing, IDS),
        broken(__call__=replacing),
    ],
    "global generator": [
        broken(key=key_of(lambda: np.random.randint(2**31))),
        broken(key=key_of(lambda: random.getrandbits(31))),
        broken(key=key_of(lambda: torch.randint(2**31, ()))),
    ],
    "repeated mixes": [broken(key=lambda self: bm.Key(0)), Repeats()],
    "NaN leaks": [broken(images=leaking)],
    "changed ids": [
        with_field("id", lambda new, old: old.flip(0)),
        with_field("id", lambda new, old: old.float()),
        with_field("mask", lambda new, old: old),  # does not follow the image
        with_field("mask", lambda new, old: new.float().mean(-1, keepdim=True).int() + 0 * new),
        with_field("mask", lambda new, old: new[..., None]),
        without("mask"),
        with_field("onehot_mask", lambda new, old: old),
        with_field("onehot_mask", lambda new, old: new / 2),
        with_field("onehot_mask", lambda new, old: new.roll(1, 1)),
        without("onehot_mask"),
    ],
    "wrong boxes": [
        with_field("boxes", lambda new, old: old),  # none of the partner
        broken(boxes=lambda _, boxes, plan: torch.cat([boxes, theirs(boxes, plan)], 1)),  # uncut
        broken(boxes=lambda _, boxes, plan: theirs(boxes, plan)),  # none of the row's own
        broken(policy=MixUp(0.8), boxes=lambda _, boxes, plan: boxes),
        broken(policy=MixUp(0.8), boxes=lambda _, boxes, plan: torch.cat([boxes] * 2, -1)),
        with_field("boxes", lambda new, old: torch.cat([new[..., :4], new[..., 4:] + 20], -1)),
        with_field("boxes", lambda new, old: new / 20),  # shares instead of cells
        without("boxes"),
    ],
}  # fmt: skip


def test_a_right_mixer_passes_every_check():
    found = bm.audit(Right(), **HOW)
    assert {f.name: f.verdict for f in found} == dict.fromkeys(CHECKS, "ok"), found
    assert found.found == ()
    assert repr(found).endswith("nothing found")


def test_every_check_has_mixers_that_it_finds():
    assert list(BROKEN) == list(CHECKS)


PAIRS = [(name, k) for name, mixers in BROKEN.items() for k in range(len(mixers))]


@pytest.mark.parametrize(("name", "k"), PAIRS)
def test_a_mixer_that_is_wrong_is_found(name, k):
    found = bm.audit(BROKEN[name][k], **HOW | ({"calls": 16} if name == "own partners" else {}))
    assert found[name].verdict == "found", found
    assert name in [f.name for f in found.found]
    if name.startswith("label error"):  # and nothing else is blamed
        assert [f.name for f in found.found] == [name]


def test_own_mixer_in_every_framework(xp):
    mixer = bm.Mixer(ONE_OF_BOTH, {0: Image("NCHW"), 1: Labels(10, smoothing=0.1)})
    found = bm.audit(mixer, call="pair", calls=4, array=lambda v: xp.array(v, v.dtype.name))
    assert found.found == ()
    # what it does not do it refuses: a video with the layout of images, and averages of int64
    refused = {f.name for f in found if f.verdict == "could not run"}
    assert refused == {"label error, video", "label error, int64"}


def test_own_mixer_with_masks_and_ids():
    fields = {
        "image": Image("NCHW"), "label": Labels(10), "mask": Mask("NHW"),
        "onehot_mask": Grid("NCHW"), "boxes": BoundingBoxes(),
    }  # fmt: skip
    policies = (ONE_OF_BOTH, ResizeMix(), FMix(), Mosaic(), Layers([CutMix(1.0)] * 2), GridMix())
    for policy in policies:
        mixer = bm.Mixer(policy, fields, hints={"image": "image"})
        found = bm.audit(mixer, call="dict", keys=IDS, calls=4)
        assert found["changed ids"].verdict == "ok"
        assert found["wrong boxes"].verdict == "ok"
        assert found.found == (), (policy, found)


def test_adapters_that_stand_in_for_others_are_clean():
    from batchmix.adapters import timm, torchvision

    both = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "num_classes": 10}
    for mode in ("batch", "pair", "elem"):
        found = bm.audit(timm.Mixup(**both, mode=mode), array=torch.tensor, calls=4).found
        assert [f.name for f in found] == ["writes to inputs"]  # as timm's
        collate = timm.FastCollateMixup(**both, mode=mode)
        assert bm.audit(collate, call="rows", calls=4).found == ()
    for make in (torchvision.MixUp, torchvision.CutMix):
        assert bm.audit(make(num_classes=10), array=torch.tensor, calls=4).found == ()


def test_known_errors_of_timm_are_found():
    from timm.data import FastCollateMixup, Mixup

    both = {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "num_classes": 10}
    found = bm.audit(Mixup(**both, mode="elem"), array=torch.tensor)
    assert {f.name for f in found.found} == {
        "label error, video", "label error, uint8", "label error, int64",
        "label sum", "writes to inputs", "global generator",
    }  # fmt: skip
    assert found["label error, uint8"].number > 0.99
    assert found["label error, odd batch"].verdict == "could not run"
    collate = bm.audit(FastCollateMixup(**both, mode="pair"), call="rows")
    assert collate["writes to inputs"].verdict == "found"
    assert collate["label error, uint8"].verdict == "ok"


def halves(answer):
    """Pastes a quarter of the row before; the labels in one of the forms that are known."""

    def mix(x, y):
        mixed = np.concatenate(
            [np.roll(x, 1, 0)[..., : x.shape[-1] // 4], x[..., x.shape[-1] // 4 :]], -1
        )
        return answer(mixed, y, np.roll(y, 1), 1 - (x.shape[-1] // 4) / x.shape[-1])

    return mix


@pytest.mark.parametrize(
    ("answer", "weight"),
    [
        (lambda x, y, other, own: (x, other, own), "own"),
        (lambda x, y, other, own: (x, other, 1 - own), "partner"),
        (lambda x, y, other, own: (x, other, own, (0, 0, 3, 3)), "own"),
        (lambda x, y, other, own: (x, (y, other, np.full(len(y), own))), "own"),
        (lambda x, y, other, own: [x, np.stack([y, other, 0 * y + 1 - own], 1)], "partner"),
        (lambda x, y, other, own: [x, np.stack([y, other, 0 * y + own], 1)[None]], "own"),
    ],
)
def test_two_labels_and_a_weight_are_understood(answer, weight):
    name = "label error, even batch"
    for said in ("own", "partner"):
        verdict = "ok" if said == weight else "found"
        assert bm.audit(halves(answer), weight=said, calls=2)[name].verdict == verdict


def test_partners_that_labels_name_are_looked_at():
    itself = halves(lambda x, y, other, own: (x, y, own))
    assert bm.audit(itself, calls=2)["own partners"].number == 1


def test_labels_that_are_not_mixed_or_of_another_shape_are_found():
    name = "label error, even batch"
    same = bm.audit(halves(lambda x, y, other, own: (x, y)), calls=2)[name]
    assert (same.verdict, same.number) == ("found", pytest.approx(0.25))
    flat = bm.audit(halves(lambda x, y, other, own: (x, np.zeros((80, 10)))), calls=2)[name]
    assert "shape (80, 10)" in flat.where
    small = bm.audit(halves(lambda x, y, other, own: (x[:4], y)), calls=2)[name]
    assert "come back as (4, 8, 12, 20)" in small.where


def test_an_exception_is_no_finding():
    def refuses(x, y):
        if len(x) % 2 or x.dtype != np.float32:
            raise TypeError("\x1b[1meven and float32, please\x1b[0m")
        return halves(lambda x, y, other, own: (x, other, own))(x, y)

    found = bm.audit(refuses, calls=2)
    assert found["label error, uint8"].verdict == "could not run"
    assert found["label error, odd batch"].where == "TypeError: even and float32, please"
    assert "uint8" not in str(found.found)

    calls = iter(range(1000))

    def sometimes(x, y):
        if x.dtype == np.uint8 and next(calls):
            raise TypeError("not this time")
        return halves(lambda x, y, other, own: (x, other, own))(x, y)

    late = bm.audit(sometimes, calls=2)["label error, uint8"]
    assert (late.verdict, late.where) == ("could not run", "in call 1: TypeError: not this time")


def test_what_does_not_exist_here_is_not_applicable():
    pytest.importorskip("ml_dtypes")  # where it is loaded, NumPy's astype("bfloat16") works
    found = bm.audit(halves(lambda x, y, other, own: (x, other, own)), calls=2, layout="NCTW")
    for name in ("label error, bfloat16", "label error, video", "changed ids"):
        assert found[name].verdict == "not applicable"
    assert found["label error, float16"].verdict == "ok"


def test_other_layouts():
    def waves(x, y):
        order = np.roll(np.arange(len(x)), 1)
        return x * 0.5 + x[order] * 0.5, (np.eye(10)[y] + np.eye(10)[y[order]]) / 2

    for layout, size in (("NCT", {"T": 30}), ("NC", {}), ("NTC", {"T": 9}), ("NDHWC", {"H": 6})):
        found = bm.audit(waves, layout=layout, size=size, calls=2)
        assert found["label error, even batch"].verdict == "ok"
        assert found["repeated mixes"].verdict == "found"


KINDS_OF_DATA = {
    "NCHW": (Image, ONE_OF_BOTH), "NHWC": (Image, ONE_OF_BOTH), "NCTHW": (Video, ONE_OF_BOTH),
    "NCDHW": (Image, ONE_OF_BOTH), "NCT": (Audio, ONE_OF_BOTH), "NTC": (Audio, ONE_OF_BOTH),
    "NC": (Features, MixUp(0.4)),
}  # fmt: skip


@pytest.mark.parametrize("layout", KINDS_OF_DATA)
def test_each_kind_of_data_has_a_right_and_a_wrong_mixer(layout):
    field, policy = KINDS_OF_DATA[layout]
    mixer = bm.Mixer(policy, {0: field(layout), 1: Labels(10)})
    found = bm.audit(mixer, call="pair", layout=layout, calls=4)
    assert found.found == ()
    assert found["label error, even batch"].verdict == "ok"
    small = found["label error, small images"].verdict
    assert small == ("not applicable" if layout == "NC" else "ok")
    # a video is another kind of batch for images only
    wanted = "could not run" if set(layout) == set("NCHW") else "not applicable"
    assert found["label error, video"].verdict == wanted

    def drawn(batch):
        x, _ = batch
        return mixer(batch)[0], np.eye(10)[np.arange(len(x))] * 0.5 + 0.05

    wrong = bm.audit(drawn, call="pair", layout=layout, calls=4)
    assert wrong["label error, even batch"].verdict == "found"


def test_a_sound_is_longer_than_a_video_has_frames():
    lengths = []

    def mix(x, y):
        lengths.append(x.shape[-1])
        return halves(lambda x, y, other, own: (x, other, own))(x, y)

    bm.audit(mix, layout="NCT", calls=2)
    assert set(lengths) == {48, 7}
    lengths.clear()
    bm.audit(mix, layout="NCT", size={"T": 400}, calls=2)
    assert set(lengths) == {400, 7}


def detector(boxes):
    """Mixes images and a list of dicts with boxes, half and half, as DETR's descendants do."""

    def collate(x, y):
        return (x + x.roll(1, 0)) / 2, [boxes(y[i], y[i - 1]) for i in range(len(y))]

    return collate


def both_boxes(own, other):
    return {key: torch.cat([own[key], other[key]]) for key in ("boxes", "labels", "area")}


def test_boxes_as_labels_are_a_list_of_dicts():
    how = {"array": torch.as_tensor, "labels": "boxes", "calls": 2}
    found = bm.audit(detector(both_boxes), **how)
    names = [f.name for f in found.found]  # half and half, in each call, integers become floats
    assert names == ["other dtype", "repeated mixes"]
    assert found["wrong boxes"].verdict == "ok"
    assert found["label error, even batch"].verdict == "not applicable"
    assert found["label sum"].verdict == "not applicable"
    lost = bm.audit(detector(lambda own, other: own), **how)["wrong boxes"]
    assert lost.verdict == "found"
    assert "none of its boxes is there" in lost.where
    swapped = bm.audit(detector(lambda own, other: both_boxes(other, other)), **how)
    assert swapped["wrong boxes"].verdict == "found"

    def writes(x, y):
        for row in y:
            row["boxes"] += 1
        return x, y

    assert "boxes" in bm.audit(writes, **how)["writes to inputs"].where


FORMATS = ["xyxy", "xywh", "cxcywh", "xyxyn", "xywhn", "cxcywhn"]


@pytest.mark.parametrize("form", FORMATS)
def test_boxes_are_in_the_format_that_is_said(form, tmp_path):
    """As dicts of rows and padded; code that takes them for another format is found out."""
    ragged = bm.Mixer(CutMix(), {0: Image("NCHW"), 1: BoundingBoxes(form)})
    how = {"call": "pair", "labels": "boxes", "box_format": form, "calls": 2}
    found = bm.audit(ragged, **how, array=torch.as_tensor)
    assert found["wrong boxes"].verdict == "ok"
    assert not found.found
    padded = bm.Mixer(CutMix(), {"x": Image("NCHW"), "b": BoundingBoxes(form)})
    keys = {"image": "x", "boxes": "b"}
    found = bm.audit(padded, call="dict", keys=keys, box_format=form, calls=2)
    assert found["wrong boxes"].verdict == "ok"

    def stays(batch):
        """The partner's boxes are lost, the row's own are those of the next place."""
        images, targets = batch
        return images.flip(0), targets

    lost = bm.audit(stays, **how, array=torch.as_tensor)
    assert lost["wrong boxes"].verdict == "found"
    again = bm.audit(stays, array=torch.as_tensor, replay=lost.save(tmp_path)["wrong boxes"])
    assert again.options["box_format"] == form
    assert again["wrong boxes"].where == lost["wrong boxes"].where


def test_a_box_format_that_is_none_is_refused():
    with pytest.raises(bm.MixError, match="box_format='xywhr'"):
        bm.audit(lambda x, y: (x, y), labels="boxes", box_format="xywhr")


def test_columns_that_are_swapped_are_a_series():
    """Of a table whose columns are an axis; a label that was drawn instead of counted is found."""

    def swap(x, y, counted=True):
        chosen = np.random.rand(x.shape[1]) < 0.4
        theirs, mixed = np.roll(np.arange(len(x)), 1), x.copy()
        mixed[:, chosen] = x[theirs][:, chosen]
        share = chosen.mean() if counted else 0.4
        return mixed, (1 - share) * np.eye(10)[y] + share * np.eye(10)[y[theirs]]

    how = {"layout": "NTC", "size": {"T": 11}, "calls": 4}
    assert bm.audit(swap, **how)["label error, even batch"].verdict == "ok"
    drawn = bm.audit(lambda x, y: swap(x, y, counted=False), **how)
    assert drawn["label error, even batch"].verdict == "found"


def test_boxes_of_weak_blends_and_of_rows_that_are_dropped_when_small_are_no_finding():
    """1 - 1e-9 of a row hides the other in float32; code may drop boxes of which little is left."""
    plans = np.random.default_rng(0)

    def weak(x, y):
        lam = np.float32(1 - 1e-9)
        mixed = x * lam + x.roll(1, 0) * (1 - lam)
        return mixed, [both_boxes(y[i], y[i - 1]) for i in range(len(y))]

    def strict(x, y):
        wide = int(plans.integers(x.shape[-1]))
        mixed = x.clone()
        mixed[..., :wide] = x.roll(1, 0)[..., :wide]
        return mixed, [kept(y[i], y[i - 1], wide) for i in range(len(y))]

    def kept(own, other, wide):
        """Boxes of which half is left, cut."""
        left, right = other["boxes"].clone(), own["boxes"].clone()
        left[:, 2].clamp_(max=wide)
        right[:, 0].clamp_(min=wide)
        sides = [(b[:, 2] - b[:, 0]) / (o["boxes"][:, 2] - o["boxes"][:, 0])
                 for b, o in ((left, other), (right, own))]  # fmt: skip
        parts = [(b[s >= 0.5], o["labels"][s >= 0.5])
                 for b, s, o in zip((left, right), sides, (other, own))]  # fmt: skip
        return {
            "boxes": torch.cat([p[0] for p in parts]),
            "labels": torch.cat([p[1] for p in parts]),
        }

    for code in (weak, strict):
        found = bm.audit(code, array=torch.as_tensor, labels="boxes")
        assert found["wrong boxes"].verdict == "ok", found["wrong boxes"]


def test_a_finding_of_boxes_is_found_again(tmp_path):
    how = {"array": torch.as_tensor, "labels": "boxes", "calls": 2}
    code = detector(lambda own, other: own)
    path = bm.audit(code, **how).save(tmp_path)["wrong boxes"]
    (again,) = bm.audit(code, array=torch.as_tensor, replay=path)
    assert again.verdict == "found"
    assert bm.audit(detector(both_boxes), array=torch.as_tensor, replay=path).found == ()
    with np.load(path) as call:
        assert call["in_boxes"].shape == call["out_boxes"].shape == (8, 4, 5)


def test_detection_without_labels_of_images():
    mixer = bm.Mixer(ONE_OF_BOTH, {"x": Image("NCHW"), "b": BoundingBoxes()})
    found = bm.audit(mixer, call="dict", keys={"image": "x", "boxes": "b"}, calls=4)
    assert found.found == ()
    assert found["wrong boxes"].verdict == "ok"
    assert found["NaN leaks"].verdict == "ok"

    def leaking_cut(batch):  # by multiplication: 0 times NaN is NaN
        inside = (np.arange(batch["x"].shape[-1]) < 3).astype(np.float32)
        x = batch["x"] * (1 - inside) + np.roll(batch["x"], 1, 0) * inside
        return batch | {"x": x}

    leaks = bm.audit(leaking_cut, call="dict", keys={"image": "x", "boxes": "b"}, calls=2)
    assert leaks["NaN leaks"].verdict == "found"


def test_one_hot_masks_may_be_hard():
    hard = with_field("onehot_mask", lambda new, old: (new > 0.5).to(new.dtype))
    hard.policy = ONE_OF_BOTH
    assert bm.audit(hard, **HOW)["changed ids"].verdict == "ok"


def test_a_clean_audit_can_be_asserted():
    found = bm.audit(Right(), **HOW)
    assert found.assert_clean() is found
    shuffled = broken(pairing=Permutation())
    how = HOW | {"calls": 16}
    assert bm.audit(shuffled, **how, accept=["own partners"]).assert_clean().accepted
    with pytest.raises(AssertionError) as failure:
        bm.audit(writing("image"), **how | {"accept": ["own partners"]}).assert_clean()
    said = str(failure.value)
    assert said.startswith(
        "1 of 20 checks of the audit found something\nwrites to inputs\n    even batch"
    )
    assert "--replay batchmix-audit/writes-to-inputs.npz" in said
    assert "accept=['writes to inputs']" in said
    with pytest.raises(AssertionError, match=r"label error, odd batch: 0.967 \(at most 0.0001\)"):
        bm.audit(BROKEN["label error, odd batch"][0], **HOW).assert_clean()


def test_generators_are_put_back():
    def state():
        return random.random(), np.random.random(), float(torch.rand(()))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    expected = state()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    bm.audit(broken(key=key_of(lambda: np.random.randint(2**31))), **HOW)
    assert state() == expected


def test_the_audited_object_is_left_as_it_was():
    mixer = Right()
    bm.audit(mixer, **HOW)
    assert mixer.step == 0


def test_a_finding_is_saved_and_found_again(tmp_path):
    from timm.data import Mixup

    mixup = Mixup(cutmix_alpha=1.0, mixup_alpha=0.8, num_classes=10, mode="elem")
    found = bm.audit(mixup, array=torch.tensor, calls=5, accept=["global generator"])
    assert "global generator" not in [f.name for f in found.found]
    assert "accepted: global generator" in repr(found)
    files = found.save(tmp_path / "worst", target="timm")
    assert files.keys() == {f.name for f in found if f.verdict == "found"}
    for name, path in files.items():
        (again,) = bm.audit(mixup, array=torch.tensor, replay=path)
        assert (again.name, again.number, again.where) == (
            name, found[name].number, found[name].where
        )  # fmt: skip
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            assert about["notes"] == {"target": "timm"}
            assert len(file["in_image"]) == len(file["out_image"]) == about["kind"]["batch"]
            assert (file["in_label"] == np.arange(8)).all()
    fixed = bm.Mixer(ONE_OF_BOTH, {0: Image("NCHW"), 1: Labels(10)})
    path = files["label error, uint8"]
    assert bm.audit(lambda x, y: fixed((x, y)), array=torch.tensor, replay=path).found == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"call": "yx"}, "call='yx'"),
        ({"labels": "soft"}, "labels='soft'"),
        ({"weight": "mine"}, "weight='mine'"),
        ({"layout": "CHW"}, "layout='CHW'"),
        ({"layout": "NHW"}, "by channels"),
        ({"batch": 7}, "batch=7"),
        ({"classes": 8}, "classes=8"),
        ({"calls": 1}, "calls=1"),
        ({"keys": {"image": "x"}}, "keys="),
        ({"accept": ["nan"]}, "The checks are"),
        ({"keys": {"image": "x", "label": "y", "depth": "z"}}, "keys="),
        ({"labels": "boxes", "layout": "NCT"}, "Boxes lie on H and W"),
        ({"labels": "boxes", "keys": IDS}, "in one of the two places"),
        ({"size": {"X": 4}}, "size="),
        ({"size": {"H": 0}}, "size="),
        ({"size": {"H": 2.5}}, "size="),
        ({"size": {"C": 3}}, "not for N or C"),
        ({"call": "pair"}, "raised TypeError"),
        ({"call": "dict"}, "raised TypeError"),
        ({"replay": __file__}, "cannot read"),
    ],
)
def test_what_cannot_be_run_is_an_error(options, says):
    with pytest.raises(bm.MixError, match=says):
        bm.audit(halves(lambda x, y, other, own: (x, other, own)), **options)


NONSENSE = [
    lambda x, y: x,
    lambda x, y: {"image": x},
    lambda x, y: None,
    lambda x, y: (x, ["<b>", "names"]),
    lambda x, y: (np.array([["<script>"] * 8]), y),
    lambda x, y: (x + 1j, y),
    lambda x, y: dict.fromkeys(range(10**5)),
    lambda x, y: (1, 2),
    lambda x, y: (x, np.broadcast_to(np.float32(0), (8, 10**9))),
    lambda x, y: (np.broadcast_to(np.float32(0), (10**5, 10**5, 10**5)), y),
    lambda x, y: (torch.as_tensor(x) + 1j, y),
    lambda x, y: ([x[:3], x], y),
    lambda x, y: (x, [y]),
    lambda x, y: (x, []),
    lambda x, y: (x, [np.eye(10)[0], 3]),
    lambda x, y: (x, (y[:3], 0.5)),
]


@pytest.mark.parametrize("labels", [list, lambda y: list(np.eye(10)[y]), lambda y: y.tolist()])
def test_labels_may_come_as_a_list_with_one_per_row(labels):
    found = bm.audit(lambda x, y: (list(x), labels(y)))
    assert [finding.name for finding in found.found] == ["unmixed rows"]


def test_of_a_class_an_instance_is_asked_for():
    with pytest.raises(bm.MixError, match="Pass an instance of the class"):
        bm.audit(Right)


@pytest.mark.parametrize("answer", NONSENSE)
def test_an_answer_of_another_form_is_an_error(answer):
    with pytest.raises(bm.MixError, match="gave") as failure:
        bm.audit(answer)
    assert len(str(failure.value)) < 1000


@pytest.mark.parametrize("answer", [lambda x, y: (x, [{"boxes": 1}] * 8), lambda x, y: (x, y[:3])])
def test_boxes_of_another_form_are_told(answer):
    try:
        verdict = bm.audit(answer, labels="boxes", calls=2)["wrong boxes"].verdict
    except bm.MixError as error:
        verdict = "found" if "'boxes' [n, 4]" in str(error) else str(error)
    assert verdict == "found"


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x * np.nan, y),
        lambda x, y: (x + np.inf, y),
        lambda x, y: (x * 3e38, np.full((len(y), 10), -1e300)),
        lambda x, y: (x, np.full((len(y), 10), np.nan)),
        lambda x, y: (x, np.eye(8)[y][:, :3]),
        lambda x, y: (x[:, :1], y),
        lambda x, y: (np.zeros(0), y),
        lambda x, y: (x, np.zeros((len(y), 0))),
    ],
)
def test_nonsense_is_found(change):
    found = bm.audit(change, calls=2)
    assert found["label error, even batch"].verdict == "found"
    assert repr(found)


PEERS = runpy.run_path(str(DOCS / "audit_peers.py"))
PUBLISHED = json.loads((DOCS / "audit.json").read_text())


def test_the_page_has_the_table_of_the_run():
    assert PEERS["table"](PUBLISHED) in (DOCS / "audit.md").read_text()
    for told in PUBLISHED:
        verdicts = {f["check"]: f["verdict"] for f in told["findings"]}
        given = {"label", *told["options"].get("keys", {}), told["options"].get("labels")}
        known = [name for name in CHECKS if name in verdicts or name != "wrong boxes"]
        assert "wrong boxes" in verdicts or "boxes" not in given, told["name"]
        assert list(verdicts) == ([] if "could_not_run" in told else known), told["name"]
        if told["distribution"] == "batchmix":
            found = {check for check, verdict in verdicts.items() if verdict == "found"}
            like_theirs = set()
            if "Composer" in told["name"]:
                like_theirs = {"own partners", "global generator"}  # where no key is given
            elif "for timm Mixup" in told["name"]:
                like_theirs = {"writes to inputs"}
            assert found == like_theirs, told["name"]


@pytest.mark.parametrize(
    "name",
    ["timm Mixup, pair", "torchvision CutMix", "kornia RandomMixUpV2", "kornia RandomCutMixV2"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of kornia, in its own code
def test_what_is_published_is_what_a_run_shows(name):
    (told,) = [told for told in PUBLISHED if told["name"] == name]
    if importlib.metadata.version(told["distribution"]) != told["version"]:
        pytest.skip("another version is installed")
    (peer,) = [peer for peer in PEERS["torch_peers"]() if peer.name == name]
    again = PEERS["entry"](peer)
    verdicts = [{f["check"]: f["verdict"] for f in one["findings"]} for one in (again, told)]
    assert verdicts[0] == {"wrong boxes": "not applicable"} | verdicts[1]
