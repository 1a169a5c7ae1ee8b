"""MixBatch in real Grain pipelines: workers, order, resume, epochs, and what is left alone."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grain
import numpy as np
import pytest
from absl import flags
from grain.experimental import get_element_spec

import batchmix as bm
from batchmix.adapters.grain import MixBatch
from batchmix.fields import Image, Keep, Labels, Mask
from batchmix.pairing import OtherClass, Roll
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
ROWS, BATCH, SIDE = 22, 4, 8  # 6 batches, the last of 2 rows
SOURCE = [
    {"image": np.full((SIDE, SIDE, 1), i, np.float32), "label": i, "id": i, "name": f"row {i}"}
    for i in range(ROWS)
]
FIELDS = {"image": Image("NHWC"), "label": Labels(ROWS)}
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
BATCHES = 6


@pytest.fixture(autouse=True)
def _flags_outside_absl_app():
    if not flags.FLAGS.is_parsed():  # Grain's workers read absl flags, and ask for an absl app
        flags.FLAGS.mark_as_parsed()


def plain():
    return grain.MapDataset.source(SOURCE).shuffle(seed=1).batch(BATCH)


def mixing(policy=POLICY, fields=FIELDS, steps_per_epoch=None, **options):
    mixer = bm.Mixer(policy, fields, **{"seed": 3, **options})
    return MixBatch(mixer, steps_per_epoch=steps_per_epoch)


def mixed(policy=POLICY, **options):
    return plain().map_with_index(mixing(policy, **options))


def workers(dataset, count):
    return dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=count))


def assert_same(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b)
    for one, two in zip(a, b):
        assert list(one) == list(two)
        for name in one:
            assert one[name].dtype == two[name].dtype
            np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize("count", [2, 4])
def test_workers_do_not_matter(count):
    dataset = mixed().repeat(2)
    expected = [dataset[i] for i in range(2 * BATCHES)]
    iterator = iter(workers(dataset.to_iter_dataset(), count))
    assert_same(iterator, expected)
    iterator.close()
    assert_same(workers(dataset.to_iter_dataset(), 0), expected)


def test_mixing_after_the_workers_gives_the_same_batches():
    """The index of an IterDataset counts what comes out of it, so it belongs after the workers."""
    mix = mixing()
    iterator = iter(workers(plain().to_iter_dataset(), 2).map_with_index(mix))
    assert_same(iterator, [mixed()[i] for i in range(BATCHES)])
    iterator.close()


def test_any_order_and_threads():
    dataset = mixed()
    expected = [dataset[i] for i in range(BATCHES)]
    order = [3, 0, 5, 5, 1, 4, 2, 0]
    assert_same([dataset[i] for i in order], [expected[i] for i in order])
    with ThreadPoolExecutor(4) as pool:
        assert_same(pool.map(dataset.__getitem__, order * 5), [expected[i] for i in order * 5])


def test_all_batches_differ_and_so_do_epochs():
    dataset = plain().map(lambda batch: {**batch, "image": np.ones((4, 8, 8, 1), np.float32)})
    dataset = dataset.map(lambda batch: {**batch, "label": np.arange(4)})  # the plan alone differs
    dataset = dataset.map_with_index(mixing(MixUp(1.0))).repeat(3)
    labels = {dataset[i]["label"].tobytes() for i in range(3 * BATCHES)}
    assert len(labels) == 3 * BATCHES


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("where", ["map", "iter"])
def test_resume_in_the_middle_of_an_epoch(count, where):
    def stream():
        if where == "map":
            return workers(mixed().repeat(2).to_iter_dataset(), count)
        dataset = workers(plain().repeat(2).to_iter_dataset(), count)
        return dataset.map_with_index(mixing())

    first = iter(stream())
    for _ in range(8):  # two batches into the second epoch
        next(first)
    state = first.get_state()
    rest = list(first)
    resumed = iter(stream())
    resumed.set_state(state)
    assert len(rest) == 2 * BATCHES - 8
    assert_same(resumed, rest)
    assert_same(rest, [mixed().repeat(2)[i] for i in range(8, 2 * BATCHES)])
    first.close(), resumed.close()


def test_labels_match_pixels():
    dataset = mixed()
    for i in range(BATCHES):
        batch, before = dataset[i], plain()[i]
        for image, label in zip(batch["image"], batch["label"]):
            assert image.mean() == pytest.approx(label @ np.arange(ROWS), abs=1e-4)
        own = batch["label"][np.arange(len(before["id"])), before["id"]]
        assert (own < 1).any()
        assert batch["label"].sum(1) == pytest.approx(np.ones(len(own)))


def test_a_cut_has_the_area_that_the_label_says():
    batch, before = mixed(CutMix(1.0))[1], plain()[1]
    for image, label, own in zip(batch["image"], batch["label"], before["id"]):
        assert (image == own).mean() == pytest.approx(label[own], abs=1e-6)


def test_what_is_not_named_is_left_alone():
    batch, before = mixed()[2], plain()[2]
    assert batch["name"].tolist() == before["name"].tolist()
    assert batch["id"].tobytes() == before["id"].tobytes()
    assert batch["image"].dtype == np.float32
    assert isinstance(batch["label"], np.ndarray)


def test_the_last_batch_is_short_and_filtered_rows_are_grains_business():
    assert mixed()[BATCHES - 1]["label"].shape == (2, ROWS)
    sparse = plain().filter(lambda batch: 0 not in batch["id"])
    dataset = sparse.map_with_index(mixing())
    kept = [i for i in range(BATCHES) if 0 not in plain()[i]["id"]]
    assert [i for i in range(BATCHES) if dataset[i] is not None] == kept
    assert_same(dataset.to_iter_dataset(), [mixed()[i] for i in kept])  # still keyed by its index


def test_the_plan_is_that_of_every_other_framework():
    mixer = bm.Mixer(POLICY, FIELDS, pairing=Roll(1), seed=3, rank=2)
    dataset = mixed(pairing=Roll(1), rank=2, steps_per_epoch=BATCHES).repeat(2)
    for i in (0, 4, 7, 11):
        epoch, step = divmod(i, BATCHES)
        source = plain().repeat(2)[i]
        assert_same([dataset[i]], [mixer(source, step=step, epoch=epoch)])


def test_a_policy_may_look_at_the_epoch():
    dataset = mixed(Schedule({0: None, 1: MixUp(1.0)}), steps_per_epoch=BATCHES).repeat(2)
    assert dataset[0]["label"].max(1).tolist() == [1] * BATCH
    assert (dataset[BATCHES]["label"].max(1) < 1).any()


def test_a_policy_that_looks_at_an_epoch_that_nobody_told_is_refused():
    dataset = mixed(Schedule.off_after(MixUp(1.0), epoch=1)).repeat(2)
    with pytest.raises(bm.MixError, match=r"(?s)nobody has told.*steps_per_epoch"):
        dataset[0]


@pytest.mark.parametrize("count", [0, 1])
def test_processes_with_slices_of_their_own_differ(count, monkeypatch):
    """A worker of Grain has the rank of the process that started it, which it cannot ask."""
    expected = [mixed(rank=1)[i] for i in range(BATCHES)]
    dataset = mixed()
    monkeypatch.setattr("batchmix.adapters.grain.process_rank", lambda: 1)
    monkeypatch.setattr("batchmix._drawing.process_rank", lambda: 1)
    iterator = iter(workers(dataset.to_iter_dataset(), count))
    assert_same(iterator, expected)
    iterator.close()
    assert not np.array_equal(expected[0]["label"], mixed(rank=0)[0]["label"])


def test_tuples_masks_and_eight_bits():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
    mask = rng.integers(0, 200, (8, SIDE, SIDE), dtype=np.uint8)
    fields = {0: Image("NHWC"), 1: Mask("NHW")}
    ds = grain.MapDataset.source(list(zip(image, mask))).batch(4)
    ds = ds.apply(mixing(CutMix(1.0), fields, seed=0))  # as one of the transformations of a list
    got = ds[1]
    plan = bm.draw(CutMix(1.0), bm.Key(0, 0, 1), 4, {"H": SIDE, "W": SIDE})
    np.testing.assert_array_equal(got[0], bm.mix(image[4:], plan, "NHWC"))
    np.testing.assert_array_equal(got[1], bm.fields.Ids("NHW")(mask[4:], plan))
    assert isinstance(got, tuple)


class Specified:
    """A transformation that says what it makes, as `get_element_spec` asks."""

    def output_spec(self, spec):
        cell = type(spec)
        image = cell(shape=(SIDE, SIDE, 1), dtype=np.float16)
        return {"image": image, "label": spec, "id": spec}

    def __call__(self, i):
        return {"image": np.full((SIDE, SIDE, 1), i, np.float16), "label": i, "id": i}


def test_the_element_spec_is_known_without_a_read():
    ds = grain.MapDataset.range(8).map(Specified()).batch(4, drop_remainder=True)
    ds = ds.map_with_index(mixing(POLICY, {"image": Image("NHWC"), "label": Labels(8)}))
    spec = get_element_spec(ds)
    for name, value in ds[0].items():
        assert (spec[name].shape, spec[name].dtype) == (value.shape, value.dtype)
    assert spec["label"].shape == (4, 8)


def test_the_element_spec_of_a_policy_that_looks_at_the_batch():
    ds = grain.MapDataset.range(8).map(Specified()).batch(4, drop_remainder=True)
    mixer = bm.Mixer(
        POLICY, {"image": Image("NHWC"), "label": Keep()}, pairing=OtherClass(),
        hints={"label": "id"},
    )  # fmt: skip
    ds = ds.map_with_index(MixBatch(mixer))
    assert get_element_spec(ds)["image"].shape == ds[0]["image"].shape


def test_it_is_small_when_pickled():
    mix = mixing(steps_per_epoch=BATCHES)
    assert len(pickle.dumps(mix)) < 1000
    assert_same([pickle.loads(pickle.dumps(mix)).map_with_index(7, plain()[1])],
                [mix.map_with_index(7, plain()[1])])  # fmt: skip


@pytest.mark.parametrize("bad", [0, -1, 2.5, "6"])
def test_steps_per_epoch_counts_batches(bad):
    with pytest.raises(bm.MixError, match="steps_per_epoch"):
        mixing(steps_per_epoch=bad)


def test_a_missing_field_is_an_error_also_from_a_worker():
    dataset = plain().map_with_index(mixing(POLICY, {"image": Image("NHWC"), "lable": Labels(2)}))
    with pytest.raises(bm.MixError, match="Did you mean 'label'"):
        dataset[0]
    iterator = iter(workers(dataset.to_iter_dataset(), 1))
    with pytest.raises(Exception, match="Did you mean 'label'"):
        next(iterator)
    iterator.close()


def test_example():
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "grain_loader.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(": ") for line in done.stdout.splitlines())
    assert lines["batches of 0 and 2 workers"] == "equal"
    assert lines["resumed in the middle of an epoch"] == "equal"
    assert float(lines["test accuracy"]) > 0.85
