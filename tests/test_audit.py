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
from batchmix.fields import Image, Labels, Mask
from batchmix.pairing import Derangement, Permutation
from batchmix.policies import CutMix, MixUp, Switch
from pages import DOCS

IDS = {name: name for name in ("image", "label", "mask", "id")}
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
        writing("image"), writing("label"), writing("mask"), writing("id"),
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
    fields = {"image": Image("NCHW"), "label": Labels(10), "mask": Mask("NHW")}
    found = bm.audit(bm.Mixer(CutMix(1.0), fields), call="dict", keys=IDS, calls=4)
    assert found["changed ids"].verdict == "ok"
    assert found.found == ()


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


def test_what_does_not_exist_here_is_not_applicable(monkeypatch):
    def no_such_dtype(x, dtype):
        raise TypeError(dtype)

    monkeypatch.setattr("batchmix.backends.numpy.cast", no_such_dtype)  # as without ml_dtypes
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
        ({"call": "pair"}, "raised TypeError"),
        ({"call": "dict"}, "raised TypeError"),
        ({"replay": __file__}, "cannot read"),
    ],
)
def test_what_cannot_be_run_is_an_error(options, says):
    with pytest.raises(bm.MixError, match=says):
        bm.audit(halves(lambda x, y, other, own: (x, other, own)), **options)


@pytest.mark.parametrize("answer", [lambda x, y: x, lambda x, y: {"image": x}, lambda x, y: None])
def test_an_answer_of_another_form_is_an_error(answer):
    with pytest.raises(bm.MixError, match="gave"):
        bm.audit(answer)


PEERS = runpy.run_path(str(DOCS / "audit_peers.py"))
PUBLISHED = json.loads((DOCS / "audit.json").read_text())


def test_the_page_has_the_table_of_the_run():
    assert PEERS["table"](PUBLISHED) in (DOCS / "audit.md").read_text()
    for told in PUBLISHED:
        verdicts = {f["check"]: f["verdict"] for f in told["findings"]}
        assert list(verdicts) == ([] if "could_not_run" in told else list(CHECKS)), told["name"]
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
    verdicts = [[(f["check"], f["verdict"]) for f in one["findings"]] for one in (again, told)]
    assert verdicts[0] == verdicts[1]
