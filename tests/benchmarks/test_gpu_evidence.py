"""`benchmarks/gpu_evidence.py` for real, on the CPU with a few tiny images."""

import json
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import batchmix as bm
import gpu_evidence
from batchmix.cli._words import parse
from cifar import data as cifar_data
from cifar import mixing, training
from cifar.engine import Engine
from cifar.models import build, whitening
from cifar.recipes import RECIPES
from cifar.runs import Run, Store, runs_of


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three classes of 20 and 6 images of 8 x 8 pixels."""
    folder, rng = tmp_path_factory.mktemp("images") / "cifar", np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 6)):
        for k, name in enumerate("abc"):
            (folder / part / name).mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 100, (8, 8, 3), np.uint8) + np.uint8(50 * k)
                Image.fromarray(pixels).save(folder / part / name / f"{n:02}.jpg")
    return folder


@pytest.fixture
def call(source, monkeypatch, capsys):
    """The script with tiny data and batches; what it wrote to stderr and stdout."""
    small = {name: replace(recipe, batch=16) for name, recipe in RECIPES.items()}
    monkeypatch.setattr(gpu_evidence, "RECIPES", small)
    monkeypatch.setattr(gpu_evidence, "_BEGAN", training.time.monotonic())

    def called(part, out, *words, code=0):
        options = [part, "--out", str(out), *words]
        if part not in ("status", "report"):
            options += ["--data", str(source), "--device", "cpu"]
        assert gpu_evidence.main(options) == code
        return capsys.readouterr()

    return called


def lines(folder):
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


def without_times(line):
    timed = {"steps_ms", "trained", "seconds", "images_per_s", "mix_ms"}
    return {name: value for name, value in line.items() if name not in timed}


INTERRUPTED = {
    "fast": "fast-x1, switch:1,1,smooth",
    "noise": "fast-x4, mixup:1,",
    "equal": "cutmix:1 by torchvision",  # draws from torch's global generator
}


@pytest.mark.parametrize("part", INTERRUPTED)
def test_a_run_that_was_interrupted_is_the_one_that_was_not(call, tmp_path, part):
    words = ["--epochs", "3", "--seeds", "1", "--only", INTERRUPTED[part]]
    call(part, tmp_path / "whole", *words)
    for _ in range(2):  # one epoch a call
        assert "to be continued" in call(part, tmp_path / "parts", *words, "--minutes", "0").err
        assert len(list((tmp_path / "parts").glob("*.pt"))) == 1
        assert not (tmp_path / "parts" / "runs.jsonl").exists()
    call(part, tmp_path / "parts", *words, "--minutes", "0")
    (whole,), (parts,) = lines(tmp_path / "whole"), lines(tmp_path / "parts")
    assert without_times(whole) == without_times(parts)
    assert len(whole["test"]) == len(parts["steps_ms"]) == 3
    assert not list((tmp_path / "parts").glob("*.pt"))
    before = (tmp_path / "parts" / "runs.jsonl").read_bytes()
    call(part, tmp_path / "parts", *words)  # nothing is left to do
    assert (tmp_path / "parts" / "runs.jsonl").read_bytes() == before


def test_runs_of_one_call_do_not_depend_on_each_other(call, tmp_path):
    words = ["--epochs", "1", "--seeds", "2", "--only"]
    call("fast", tmp_path / "both", *words, "fast-x1, mixup:1, ")
    call("fast", tmp_path / "one", *words, "fast-x1, mixup:1, seed 1")
    first, second = lines(tmp_path / "both")
    (alone,) = lines(tmp_path / "one")
    assert without_times(second) == without_times(alone)
    assert first["weights"] != second["weights"]


def test_what_is_kept_of_a_run(call, tmp_path):
    call("noise", tmp_path, "--epochs", "2", "--seeds", "1", "--only", "fast-x4, none")
    (line,) = lines(tmp_path)
    assert line["overrides"] == ["epochs=2", "device=cpu", "data=60+18"]
    assert line["run"] == asdict(Run("noise", "fast-x4", "none", 0, 0.4))
    measured = {"accuracy", "nll", "nll_scaled", "ece", "ece_scaled", "temperature", "memorised"}
    assert line["last"].keys() == measured == line["best"].keys() - {"epoch"}
    assert line["best"]["epoch"] == 1 + line["held"].index(max(line["held"]))
    assert line["last"]["accuracy"] == line["test"][-1]
    assert line["best"]["accuracy"] == line["test"][line["best"]["epoch"] - 1]
    assert line["settings"]["batch"] == 16
    assert line["versions"]["torch"] == torch.__version__
    assert line["mix_ms"] > 0 < line["images_per_s"]


def test_no_run_with_other_settings_is_reported(call, tmp_path):
    call("fast", tmp_path, "--epochs", "1", "--seeds", "1", "--only", "fast-x1, none")
    told = call("status", tmp_path).out
    assert "fast: 0 of 160 runs done, about 40 minutes to go (a guess)" in told
    assert "1 runs with other settings" in told
    kept = tmp_path / "kept.json"
    told = call("report", tmp_path, "--kept", str(kept), code=2).err
    assert "no run has finished that may be shown" in told
    assert not kept.exists()


def test_a_library_that_is_absent_is_told_of(call, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_evidence, "absent", lambda name: f"{name} is not installed")
    said = call("equal", tmp_path, "--seeds", "1").err
    assert "mixup:1 by timm, seed 0: not run, timm is not installed" in said
    assert "torchvision is not installed: not run" in call("status", tmp_path).out
    assert mixing.absent("no_such_library") == "no_such_library is not installed"
    assert mixing.absent("batchmix") is None


def test_a_run_that_diverges_is_kept_as_failed(call, tmp_path, monkeypatch):
    wild = {name: replace(recipe, lr=1e30) for name, recipe in gpu_evidence.RECIPES.items()}
    monkeypatch.setattr(gpu_evidence, "RECIPES", wild)
    said = call("fast", tmp_path, "--epochs", "3", "--seeds", "1", "--only", "fast-x1, none").err
    assert "the loss is nan in epoch" in said
    (line,) = lines(tmp_path)
    assert line["problem"].startswith("the loss is nan")
    assert line["last"] == {}


def test_an_interrupt_says_how_to_go_on(call, tmp_path, monkeypatch):
    words = ["--epochs", "2", "--seeds", "1", "--only", "fast-x1, none"]
    with monkeypatch.context() as patched:
        patched.setattr(training.Course, "_test", interrupt)
        said = call("fast", tmp_path, *words, code=130).err
    assert said == "stopped; the same command goes on from the last checkpoint.\n"
    call("fast", tmp_path, *words)
    assert len(lines(tmp_path)) == 1


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_device_that_is_not_there_is_refused(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as stop:
        gpu_evidence.main(["fast", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "--device cpu" in capsys.readouterr().err


def test_files_that_are_not_what_they_should_be(call, source, tmp_path):
    words = ["--epochs", "2", "--seeds", "1", "--only", "fast-x1, none"]
    call("fast", tmp_path, *words, "--minutes", "0")
    (state,) = tmp_path.glob("*.pt")
    said = call("fast", tmp_path, *words, "--epochs", "1").err  # another run altogether
    assert "is of other data or options; the run begins anew" in said
    state.write_bytes(b"no state")
    assert "Remove it; the run begins anew." in call("fast", tmp_path, *words, code=2).err
    state.unlink()
    (tmp_path / "runs.jsonl").write_text('{"run": 3}\n')
    assert "line 1 is not that of a run" in call("status", tmp_path, code=2).err
    (tmp_path / "runs.jsonl").unlink()
    (tmp_path / cifar_data.CACHE).write_bytes(b"no archive")
    assert "cifar10.npz: it cannot be read" in call("fast", tmp_path, *words, code=2).err


def test_data_that_are_none(source, tmp_path):
    with pytest.raises(bm.MixError, match="in --out"):
        cifar_data.load(None, tmp_path)
    (tmp_path / "file").write_bytes(b"text")
    with pytest.raises(bm.MixError, match="is no archive that can be read"):
        cifar_data.load(tmp_path / "file", tmp_path)
    with pytest.raises(bm.MixError, match="holds no train"):
        cifar_data.load(source / "train", tmp_path)
    broken = tmp_path / "broken" / "train" / "a"
    broken.mkdir(parents=True)
    (broken / "0.jpg").write_bytes(b"text")
    with pytest.raises(bm.MixError, match=r"'train/a/0\.jpg' is no image"):
        cifar_data.load(tmp_path / "broken", tmp_path)


def test_an_archive_and_the_cache_hold_the_same_rows(source, tmp_path):
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(source / "test", "test")
        file.add(source / "train", "train")
    found = [
        cifar_data.load(source, tmp_path),
        cifar_data.load(archive, tmp_path),
        cifar_data.load(None, tmp_path),
    ]
    assert len({data.digest for data in found}) == 1
    assert not found[0].whole
    for data in found:
        assert data.train.x.shape == (60, 8, 8, 3)
        assert np.bincount(data.test.y).tolist() == [6, 6, 6]
        means = [data.train.x[data.train.y == k].mean() for k in range(3)]
        assert means == sorted(means)  # rows and labels belong together


def rows(count=40, size=8):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (count, size, size, 3), np.uint8)
    return cifar_data.Rows(x, np.arange(count) % 4)


def test_an_epoch_is_crops_and_flips_of_its_rows():
    given = rows()
    loader = cifar_data.Loader(given, torch.device("cpu"), torch.float32)
    first = list(loader.epoch(0, 0, 16))
    assert [tuple(x.shape) for x, _ in first] == [(16, 3, 8, 8)] * 2
    assert first[0][0].is_contiguous(memory_format=torch.channels_last)
    again, other = list(loader.epoch(0, 0, 16)), list(loader.epoch(0, 1, 16))
    assert all(torch.equal(a, b) for one, two in zip(first, again) for a, b in zip(one, two))
    assert not torch.equal(first[0][0], other[0][0])
    plain = loader.plain()
    black = loader._normalised(torch.zeros(1, 1, 1, 3))[0]
    framed = black.expand(3, 16, 16).repeat(len(plain), 1, 1, 1)
    framed[:, :, 4:12, 4:12] = plain
    windows = framed.unfold(2, 8, 1).unfold(3, 8, 1)  # [N, C, 9, 9, 8, 8]
    windows = torch.cat([windows, windows.flip(-1)]).permute(0, 2, 3, 1, 4, 5)
    seen = []
    for x, y in zip(*first[0]):
        row, *_ = (windows == x).flatten(3).all(3).nonzero()[0].tolist()
        seen.append(row % 40)
        assert y == given.y[row % 40]
    assert len(set(seen)) == 16


def test_held_out_rows_are_the_last_of_each_class_and_labels_are_wrong_in_their_share():
    given = rows(400)
    wrong = cifar_data.with_wrong_labels(given, 0.4, 4, seed=3)
    assert (wrong.y != given.y).sum() == 160
    assert set((wrong.y - given.y) % 4) == {0, 1, 2, 3}
    again, other = (cifar_data.with_wrong_labels(given, 0.4, 4, seed=seed) for seed in (3, 4))
    assert (again.y == wrong.y).all()
    assert (other.y != wrong.y).any()
    train, held = cifar_data.held_out(given, wrong.y)
    assert (len(train.y), len(held.y)) == (360, 40)
    assert (held.x == given.x[360:]).all()
    assert (held.y == wrong.y[360:]).all()
    assert len(cifar_data.limited(given, 7).y) == 7


def test_the_networks():
    torch.manual_seed(0)
    counts = [
        sum(p.numel() for p in build(net, 10).parameters()) for net in ("resnet18", "whitened")
    ]
    assert counts[0] == 11_173_962  # as published for this network
    assert counts[1] < 2_000_000
    assert build("resnet18", 3)(torch.zeros(2, 3, 8, 8)).shape == (2, 3)


def test_the_first_layer_whitens():
    given = rows(60)
    filters = whitening(given.x)
    assert filters.shape == (54, 3, 3, 3)
    assert torch.equal(filters[:27], -filters[27:])
    x = cifar_data.Loader(given, torch.device("cpu"), torch.float32).plain()
    seen = torch.nn.functional.conv2d(x, filters[:27]).permute(1, 0, 2, 3).flatten(1)
    assert torch.allclose(seen @ seen.T / seen.shape[1], torch.eye(27), atol=0.02)


def test_the_rates_begin_and_end_as_the_page_says():
    cosine, triangle = RECIPES["resnet18"].rate, RECIPES["fast-x1"].rate
    assert (cosine(0), round(cosine(0.5), 6), round(cosine(1), 6)) == (0.1, 0.05, 0)
    assert [round(triangle(done), 6) for done in (0, 0.1, 0.2, 0.6, 1)] == [0, 0.2, 0.4, 0.2, 0]


def test_a_graph_steps_as_the_engine_does_without():
    """In place of a CUDA graph: what it would replay, on the memory that it would read."""

    class Replayed:
        def replay(self):
            engines[1]._step(engines[1].x, engines[1].target)

    recipe = replace(RECIPES["fast-x1"], batch=8)
    engines = [Engine(recipe, (3, 8, 8), 4, torch.device("cpu")) for _ in range(2)]
    engines[1].graph = Replayed()
    for engine in engines:
        engine.load(engine.initial(0, rows()))
        x = torch.rand(3, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        for step in range(3):
            engine.step(x[step], torch.eye(4)[torch.arange(8) % 4], 0.1 * step)
    assert engines[0].digest() == engines[1].digest()
    assert engines[0].total == engines[1].total > 0


@pytest.mark.parametrize("name", mixing.ARMS)
def test_arms_are_written_as_the_command_line_writes_them(name):
    (entry,) = parse(name)
    assert (entry.policy, entry.smoothing) == mixing.ARMS[name]


@pytest.mark.parametrize("run", runs_of("equal", 1), ids=str)
def test_libraries_draw_once_a_batch_and_again_alike(run):
    found = []
    for epoch in (0, 1, 0):
        mix = mixing.mix_of(run.arm, run.library, 5, seed=0)
        mix.begin(epoch)
        x = torch.arange(10.0)[:, None, None, None].expand(10, 3, 8, 8).clone()
        steps = [mix.call(x.clone(), torch.arange(10) % 5, epoch, k) for k in range(6)]
        found.append(steps)
    for x, target in found[0]:
        pasted = (x - torch.arange(10.0)[:, None, None, None]).abs() > 1e-6
        shares = pasted.float().mean((1, 2, 3))
        assert len(set(shares[shares > 0].tolist())) <= 1  # one lam, one box
        assert torch.allclose(target.sum(1), torch.ones(10), atol=1e-6)
    same, other = (torch.stack([x for x, _ in found[k]]) for k in (2, 1))
    assert torch.equal(torch.stack([x for x, _ in found[0]]), same)
    assert not torch.equal(other, same)


def test_every_seed_is_done_before_the_next():
    runs = [run for part in ("resnet18", "fast", "noise", "equal") for run in runs_of(part)]
    assert len({str(run) for run in runs}) == len(runs) == 352
    for part in ("resnet18", "noise"):
        seeds = [run.seed for run in runs_of(part)]
        assert seeds == sorted(seeds)
    assert len({Store.checkpoint(Named(), run) for run in runs}) == len(runs)
    assert len(runs_of("resnet18", 2)) == 8


class Named:
    folder = Path()
