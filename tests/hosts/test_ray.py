"""MixBatch in Ray Data: what workers and order do not change, streaming, what is refused."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
import ray
from ray.data import TaskPoolStrategy

import batchmix as bm
from batchmix.adapters.ray import MixBatch
from batchmix.fields import Image, Labels, Mask
from batchmix.policies import CutMix, MixUp, Schedule, Switch

ROOT = Path(__file__).parents[2]
ROWS, BATCH, SIDE = 48, 8, 4
FIELDS = {"image": Image("NHWC"), "label": Labels(ROWS)}
POLICY = Switch([MixUp(1.0), CutMix(1.0)])
pytestmark = [
    # Ray leaves sockets and files of its processes for the end of the interpreter
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # Ray's own settings, when they are first made
    pytest.mark.filterwarnings("ignore:`use_.*` is deprecated:DeprecationWarning"),
]


def rows(batch):
    """Row i holds i, in the image and as label; a column of another kind stays."""
    ids = batch["id"]
    image = np.zeros((len(ids), SIDE, SIDE, 1), np.float32) + ids[:, None, None, None]
    return {"id": ids, "image": image, "label": ids, "name": np.array([f"row {i}" for i in ids])}


def mixing(policy=POLICY, fields=FIELDS, seed=3, **options):
    return MixBatch(bm.Mixer(policy, fields, seed=seed), **options)


def mixed(ids, **options):
    """What MixBatch makes of these rows here, without Ray."""
    return mixing(**options)(rows({"id": np.asarray(ids)}))


@pytest.fixture(scope="module", autouse=True)
def _ray():
    memory = 200 * 2**20
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=memory, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def source():
    """Blocks of one batch each, so that the rows of a batch are known."""
    return ray.data.range(ROWS, override_num_blocks=ROWS // BATCH).map_batches(rows)


class Meet:
    """Lets a worker go on as soon as there are two of them."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, batch):
        (self.folder / str(os.getpid())).touch()
        for _ in range(3000):
            if len(list(self.folder.iterdir())) > 1:
                break
            time.sleep(0.01)
        return {**batch, "worker": np.full(len(batch["id"]), os.getpid())}


def assert_rows(got, expected):
    """Each row of `got` is the row of its id in `expected`."""
    where = {int(i): k for k, i in enumerate(expected["id"])}
    for row in got:
        k = where[int(row["id"])]
        np.testing.assert_array_equal(row["image"], expected["image"][k])
        np.testing.assert_array_equal(row["label"], expected["label"][k])
        assert row["name"] == expected["name"][k]


def test_two_workers_give_what_one_gives(tmp_path):
    mix = mixing()
    two = TaskPoolStrategy(size=2)
    ds = source().map_batches(mix, batch_size=BATCH, compute=two)
    got = ds.map_batches(Meet(tmp_path), batch_size=BATCH, compute=two).take_all()
    assert len({row["worker"] for row in got}) == 2
    parts = [mixed(range(k, k + BATCH)) for k in range(0, ROWS, BATCH)]
    everything = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert sorted(row["id"] for row in got) == list(range(ROWS))
    assert_rows(got, everything)


def test_the_order_of_blocks_does_not_matter():
    mix = mixing()
    shuffled = source().randomize_block_order(seed=1).map_batches(mix, batch_size=BATCH)
    got = shuffled.take_all()
    assert [row["id"] for row in got] != list(range(ROWS))
    for k in range(0, ROWS, BATCH):
        part = [row for row in got if k <= row["id"] < k + BATCH]
        assert_rows(part, mixed(range(k, k + BATCH)))


def test_the_order_of_rows_does_not_matter():
    ids = np.arange(20, 33)
    turned = np.random.default_rng(0).permutation(ids)
    one, two = mixed(ids), mixed(turned)
    assert two["id"].tolist() == turned.tolist()
    for name in ("image", "label"):
        np.testing.assert_array_equal(two[name], one[name][turned - 20])
    assert not (one["label"] == rows({"id": ids})["label"][:, None]).all()


def test_masks_follow_in_any_order_of_rows():
    ids = np.array([5, 3, 9, 1])
    mask = np.broadcast_to(ids[:, None, None], (4, SIDE, SIDE)).copy()
    mix = mixing(CutMix(1.0), {"image": Image("NHWC"), "mask": Mask("NHW")})
    batch = {"id": ids, "image": rows({"id": ids})["image"], "mask": mask}
    got = mix(batch)
    np.testing.assert_array_equal(got["image"][..., 0], got["mask"])
    assert (got["mask"] != mask).any()


def test_labels_match_pixels_and_inputs_are_kept():
    got, before = mixed(range(8)), rows({"id": np.arange(8)})
    shares = got["label"] @ np.arange(ROWS)
    np.testing.assert_allclose(got["image"].mean((1, 2, 3)), shares, atol=1e-4)
    assert got["name"].tolist() == before["name"].tolist()


def test_other_ids_epochs_and_seeds_give_other_mixes():
    plain = {"label": np.arange(8), "image": np.ones((8, SIDE, SIDE, 1), np.float32)}
    labels = set()
    for seed in range(2):
        for epoch in range(2):
            for start in range(0, 80, 8):
                mix = mixing(seed=seed, epoch=epoch)
                batch = mix({"id": np.arange(start, start + 8), **plain})
                labels.add(batch["label"].tobytes())
    assert len(labels) == 40


@pytest.mark.parametrize("dtype", ["int32", "uint64", str, object])
def test_ids_of_any_kind(dtype):
    ids = np.array([3, 1, 2]).astype(dtype)
    batch = {"id": ids, "image": np.ones((3, 2, 2, 1)), "label": np.arange(3)}
    turned = {name: column[::-1] for name, column in batch.items()}
    mix = mixing()
    np.testing.assert_array_equal(mix(turned)["label"][::-1], mix(batch)["label"])


def test_the_type_of_integer_ids_does_not_matter():
    batch = {"image": np.ones((3, 2, 2, 1)), "label": np.arange(3)}
    mix = mixing()
    one, two = (mix({"id": np.arange(3, dtype=d), **batch}) for d in ("int64", "int16"))
    np.testing.assert_array_equal(one["label"], two["label"])


def test_streaming_into_torch():
    import torch

    mix = mixing()
    ds = source().map_batches(mix, batch_size=BATCH).drop_columns(["name"])
    seen = 0
    for batch in ds.iter_torch_batches(batch_size=BATCH):
        assert batch["label"].dtype == torch.float32
        assert batch["label"].shape == (BATCH, ROWS)
        expected = mixed(batch["id"].numpy())
        np.testing.assert_array_equal(batch["image"].numpy(), expected["image"])
        np.testing.assert_array_equal(batch["label"].numpy(), expected["label"])
        seen += BATCH
    assert seen == ROWS


def test_a_pool_of_actors_makes_its_own():
    made = {"mixer": bm.Mixer(POLICY, FIELDS, seed=3)}
    ds = source().map_batches(
        MixBatch,
        fn_constructor_kwargs=made,
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    assert_rows(ds.take(BATCH), mixed(range(BATCH)))


def test_the_last_batch_may_be_short():
    ds = ray.data.range(11, override_num_blocks=1).map_batches(rows)
    got = ds.map_batches(mixing(), batch_size=8).take_all()
    assert_rows(got[:8], mixed(range(8)))
    assert_rows(got[8:], mixed(range(8, 11)))


def test_a_policy_by_epoch_is_told_or_refused():
    off = Schedule.off_after(MixUp(1.0), epoch=1)
    softest = [mixed(range(8), policy=off, epoch=e)["label"].max(1).min() for e in range(2)]
    assert softest[0] < 1
    assert softest[1] == 1
    with pytest.raises(bm.MixError, match="nobody has told"):
        mixed(range(8), policy=off)
    with pytest.raises(bm.MixError, match="epoch=-1"):
        mixing(epoch=-1)


def test_no_rank_is_asked_of_a_worker(monkeypatch):
    expected = mixed(range(8))["label"]
    monkeypatch.setenv("RANK", "3")
    np.testing.assert_array_equal(mixed(range(8))["label"], expected)
    other = MixBatch(bm.Mixer(POLICY, FIELDS, seed=3, rank=1))(rows({"id": np.arange(8)}))
    assert not np.array_equal(other["label"], expected)


def test_a_row_that_comes_alone_is_a_warning():
    with pytest.warns(UserWarning, match="repartition"):
        alone = mixed([7])
    assert alone["label"].argmax() == 7
    assert alone["label"].max() == 1


GOOD = {"id": np.arange(2), "image": np.ones((2, 2, 2, 1)), "label": np.arange(2)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"id": np.array([1, 1])}, "twice"),
        ({"id": np.array([0.5, 1.5])}, "dtype float64"),
        ({"id": np.ones((2, 2), int)}, r"shape \(2, 2\)"),
        ({"label": np.array([0, ROWS])}, f"label {ROWS}"),
        ({"image": np.array([np.ones(2), np.ones(3)], object)}, "layout"),
    ],
)
def test_what_does_not_fit_is_refused(change, match):
    with pytest.raises(bm.MixError, match=match):
        mixing()({**GOOD, **change})


def test_missing_columns_are_refused():
    with pytest.raises(bm.MixError, match=r"the batch has the columns \['image', 'label'\]"):
        mixing()({name: GOOD[name] for name in ("image", "label")})
    with pytest.raises(bm.MixError, match="Did you mean 'label'"):
        mixing(fields={"lable": Labels(2)})(GOOD)
    with pytest.raises(bm.MixError, match="got a list"):
        mixing()([GOOD])


def test_example():
    words = [sys.executable, "examples/ray_data.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "batches of 1 and 2 workers: equal" in done.stdout
    assert float(done.stdout.split("test accuracy:")[1].split()[0]) > 0.8
