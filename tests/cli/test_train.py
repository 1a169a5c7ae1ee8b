"""`batchmix train`: modes, and a run that is stopped and goes on, bit for bit."""

import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from batchmix.cli._processes import processes
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.run import checkpoint, resumable
from batchmix.cli.show.trained import trained

RUN = ("train", "digits", "--limit-train", 100, "--epochs", 4, "--accelerator", "cpu")
SMALL = (*RUN, "--batch-size", 16)  # 7 steps an epoch
MIXED = ("--mixup", 0.8, "--cutmix", 1.0, "--mixup-off-epoch", 3)
FILES = [
    "checkpoint.safetensors",
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "result.json",
]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Threads of small models mostly wait for each other, above all beside other tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(threads)


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def assert_same(one, two):
    assert files(one) == files(two) == FILES
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def header(path):
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["batchmix"])


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_modes(run, tmp_path, mode):
    out = tmp_path / "out"
    code, text, told = run(*RUN, *MIXED, "--mixup-mode", mode, "--out", out)
    assert code == 0
    assert "epoch 4/4" in told
    assert "best epoch (" in text
    assert max(len(line) for line in text.splitlines() if str(out) not in line) <= 80
    assert str(out / "model.safetensors") in text
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert set(lines[0]) == {"epoch", "step", "lr", "loss", "held_out"}
    assert lines[3]["loss"] < lines[0]["loss"]
    assert files(out) == FILES
    result = json.loads((out / "result.json").read_text())
    best = max(line["held_out"] for line in lines)
    assert lines[result["best"]["epoch"]]["held_out"] == best
    assert result["last"]["epoch"] == 3


def test_the_command_that_is_printed_repeats_the_run(run, tmp_path):
    options = (*RUN, "--policy", "mixup:0.8,prob=0.5,off=3", "--quiet")
    assert run(*options, "--out", tmp_path / "one")[0] == 0
    told = run(*options[:-1], "--out", tmp_path / "two")[2]
    words = next(line for line in told.splitlines() if line.startswith("batchmix train")).split()
    words[words.index("--out") + 1] = str(tmp_path / "three")
    code, _, error = run(*words[1:])
    assert code == 0, error
    assert_same(tmp_path / "one", tmp_path / "three")


@pytest.mark.parametrize(
    "options",
    [
        ("--model", "convnet", "--ema", 0.9),
        ("--model", "resnet20", "--optimizer", "adamw", "--lr", 1e-3, "--accumulate", 2),
        ("--augment", "light", "--workers", 1, "--mix-on", "workers"),
    ],
)
def test_a_run_that_is_cut_off_in_an_epoch_goes_on_bit_for_bit(run, tmp_path, monkeypatch, options):
    options = (*SMALL, "--epochs", 2, *MIXED, "--mixup-mode", "elem", *options)
    options = (*options, "--save-minutes", 0, "--out")
    assert run(*options, tmp_path / "whole")[0] == 0

    save, saved = checkpoint.save_run, []

    def power_cut(*args):
        save(*args)
        saved.append(args)
        if len(saved) in (3, 10):
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_run", power_cut)
    for where in ("", "goes on in epoch 1 of 2, after step 3 of 7"):
        code, _, error = run(*options, tmp_path / "parts")
        assert (code, where in error) == (130, True)
    code, _, error = run(*options, tmp_path / "parts")
    assert code == 0
    assert "goes on in epoch 2 of 2, after step 3 of 7" in error
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_the_same_command_after_a_kill(run, tmp_path):
    options = [*map(str, (*SMALL, *MIXED, "--epochs", 20, "--save-minutes", 0, "--out"))]
    assert run(*options, tmp_path / "whole")[0] == 0
    path = tmp_path / "parts" / "checkpoint.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-m", "batchmix", *options, str(path.parent)], stderr=subprocess.PIPE
    )
    while not path.exists():
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert not header(path)["finished"]
    code, _, error = run(*options, path.parent)
    assert (code, "goes on in epoch" in error) == (0, True), error
    (path.parent / ".lock").unlink(missing_ok=True)
    assert_same(tmp_path / "whole", path.parent)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_step_and_saves(run, tmp_path, monkeypatch, number, code):
    options, handler = (*SMALL, *MIXED, "--out"), signal.getsignal(number)
    assert run(*options, tmp_path / "whole")[0] == 0
    after = resumable._Course._after_step

    def signalled(course, done, *args):
        if (course._state.epoch, done) == (1, 4):
            signal.raise_signal(number)
        after(course, done, *args)

    monkeypatch.setattr(resumable._Course, "_after_step", signalled)
    found, text, error = run(*options, tmp_path / "parts")
    assert (found, text) == (code, "")
    said = "stopped in epoch 2 of 4, after step 4 of 7; saved in "
    assert f"{said}{tmp_path / 'parts' / 'checkpoint.safetensors'}" in error
    assert "the same command goes on" in error
    assert signal.getsignal(number) is handler
    monkeypatch.undo()
    assert run(*options, tmp_path / "parts")[0] == 0
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_says_so_and_other_options_are_refused(run, tmp_path, monkeypatch):
    options = (*RUN, "--out", tmp_path)
    code, first, _ = run(*options)
    assert code == 0
    before = {name: (tmp_path / name).read_bytes() for name in FILES}
    monkeypatch.setattr(resumable, "open_job", None)  # nothing is trained
    code, again, error = run(*options)
    assert (code, again) == (0, first)
    assert "is finished" in error
    for more, says in (
        (("--lr", 0.3), "--lr was 0.1 and is 0.3"),
        (("--mixup", 0.3), "--mixup was 0.0 and is 0.3"),
        (("--precision", "bf16-mixed"), "--precision was '32-true' and is 'bf16-mixed'"),
        (("--devices", 2), "--devices was 1 and is 2"),
        (("--epochs", 5), "--epochs was 4 and is 5"),
    ):
        code, _, error = run(*options, *more)
        assert (code, says in error) == (2, True), error
    assert run(*options, "--workers", 1)[0] == 0  # figures do not depend on it
    assert before == {name: (tmp_path / name).read_bytes() for name in FILES}


def test_what_an_earlier_run_made_is_not_handed_out(run, tmp_path, monkeypatch):
    """Its checkpoint was removed, and the run after it is killed when it has saved all."""
    out, other = tmp_path / "out", (*RUN, "--cutmix", 1.0, "--seed", 1)
    assert run(*other, "--out", tmp_path / "whole")[0] == 0
    assert run(*RUN, "--out", out)[0] == 0
    (out / "checkpoint.safetensors").unlink()

    def killed(course, shape):
        raise KeyboardInterrupt

    monkeypatch.setattr(resumable._Course, "result", killed)
    code, _, error = run(*other, "--out", out)
    assert (
        code,
        "of an earlier run: model.safetensors, config.json, metrics.jsonl, result" in error,
    ) == (130, 1)
    assert files(out) == ["checkpoint.safetensors", "metrics.jsonl"]
    monkeypatch.undo()
    assert run(*other, "--out", out)[0] == 0
    assert_same(tmp_path / "whole", out)


def test_a_file_of_somebody_else_is_no_earlier_run(run, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("mine")
    (tmp_path / "result.json").write_text('{"mine": 1}')
    monkeypatch.setattr(resumable._Course, "result", lambda course, shape: sys.exit(7))
    assert run(*RUN, "--out", tmp_path)[0] == 7
    assert (tmp_path / "config.json").read_text() == "mine"
    assert (tmp_path / "result.json").read_text() == '{"mine": 1}'


def test_other_versions_are_said(run, tmp_path, monkeypatch):
    options = (*RUN, "--out", tmp_path)
    assert run(*options)[0] == 0
    (tmp_path / "result.json").unlink()  # the last thing that a run writes
    monkeypatch.setattr("batchmix.cli.train._versions", lambda: {"torch": "9"})
    code, _, error = run(*options)
    assert code == 0
    assert "versions: " in error
    assert "{'torch': '9'} now; figures may differ" in error
    assert files(tmp_path) == FILES


def test_other_data_are_refused(run, images, tmp_path):
    folder, out = images("data", rows=20), tmp_path / "out"
    options = ("train", folder, "--epochs", 1, "--model", "mlp", "--accelerator", "cpu")
    assert run(*options, "--out", out)[0] == 0
    (folder / "red" / "0.png").rename(folder / "red" / "99.png")
    code, _, error = run(*options, "--out", out)
    assert (code, "as many rows, but other files" in error) == (2, True), error
    (folder / "red" / "99.png").unlink()
    code, _, error = run(*options, "--out", out)
    assert (code, "rows {'train': 60} then, {'train': 59} now" in error) == (2, True), error
    (folder / "yellow").mkdir()
    (folder / "blue" / "0.png").rename(folder / "yellow" / "0.png")
    code, _, error = run(*options, "--out", out)
    assert (code, "3 names" in error, "4 names" in error) == (2, True, True), error


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run that was stopped after its second epoch."""
    out = tmp_path_factory.mktemp("written")
    from batchmix.cli import main

    save, patch = checkpoint.save_run, pytest.MonkeyPatch()

    def stop(path, run, totals, best, state):
        save(path, run, totals, best, state)
        if state.epoch == 2:
            raise KeyboardInterrupt

    patch.setattr(checkpoint, "save_run", stop)
    with pytest.raises(SystemExit):
        main([*map(str, (*RUN, "--out", out))])
    patch.undo()
    return (out / "checkpoint.safetensors").read_bytes()


def changed(**values):
    return lambda tensors, state: state.update(values)


def without(name):
    return lambda tensors, state: tensors.pop(name)


def tensor(name, change):
    return lambda tensors, state: tensors.update({name: change(tensors)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(epoch="2"), "'epoch' is '2'"),
        (changed(epoch=-5), "'epoch' is -5"),
        (changed(epoch=10**9), "'epoch' is 1000000000"),
        (changed(epoch=True), "'epoch' is True"),
        (changed(step=-1), "'step' is -1"),
        (changed(step=5), "'step' is 5"),
        (changed(history=None), "'history' does not have"),
        (changed(history=[{}]), "'history' does not have"),
        (changed(history=[{}, {}]), "'history' does not have"),
        (changed(scaler={"scale": "2"}), "'scaler' does not have numbers"),
        (changed(epoch=float("nan")), "it has NaN"),
        (changed(best=None), "'best' is None"),
        (changed(best={"epoch": 7, "rank": [0, 0]}), "'best' is {"),
        (changed(finished=True), "'finished' is True"),
        (changed(format=2), "not of format 1"),
        (changed(more=1), "its header has"),
        (changed(config=[]), "'config' is []"),
        (without("model.1.weight"), "lacks 'model.1.weight'"),
        (without("optimizer.0.momentum_buffer"), "lacks 'optimizer.0.momentum_buffer'"),
        (without("loss"), "lacks 'loss'"),
        (tensor("model.1.weight", lambda t: t["model.1.weight"].long()), "is torch.int64"),
        (tensor("model.1.weight", lambda t: t["model.1.weight"][:3].clone()), "(3, 64)"),
        (tensor("optimizer.9.momentum_buffer", lambda t: torch.zeros(1)), "a foreign tensor"),
        (tensor("optimizer.x.y", lambda t: torch.zeros(1)), "a foreign tensor"),
        (tensor("optimizer.0.momentum_buffer", lambda t: torch.zeros(1)), "(1,)"),
    ],
)
def test_a_foreign_checkpoint_is_one_line(run, tmp_path, written, change, says):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(written)
    tensors, state = load_file(path), header(path)
    change(tensors, state)
    save_file(tensors, path, {"batchmix": json.dumps(state)})
    before = path.read_bytes()
    code, text, error = run(*RUN, "--out", tmp_path, "--quiet")
    assert (code, text, error.count("\n")) == (2, "", 1), error
    assert says in error
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"half a file",
        b"\x80\x04K\x01.",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 32) + b'{"__metadata__":{"batchmix":""}}',
        struct.pack("<Q", 400035) + b'{"__metadata__":{"batchmix":"' + b"[" * 400003 + b'"}}',
    ],
)
def test_what_is_no_checkpoint_is_one_line(run, tmp_path, content):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(content)
    code, text, error = run(*RUN, "--out", tmp_path)
    assert (code, text, error.count("\n")) == (2, "", 1), error
    assert "checkpoint.safetensors is not a checkpoint of this run" in error


def test_a_full_disk_leaves_the_checkpoint_before(run, tmp_path, monkeypatch):
    write, written = checkpoint.write, []

    def full(path, content):
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write", full)
    code, _, error = run(*RUN, "--out", tmp_path)
    assert code == 2
    line = error.splitlines()[-1]
    assert "the checkpoint cannot be written (No space left on device)" in line
    assert "is whole" in line
    monkeypatch.undo()
    assert header(tmp_path / "checkpoint.safetensors")["epoch"] == 1
    code, _, error = run(*RUN, "--out", tmp_path)
    assert (code, "goes on in epoch 2 of 4" in error) == (0, True)


def test_a_checkpoint_is_read_back_before_the_old_one_goes(run, tmp_path, monkeypatch):
    write = checkpoint.write
    monkeypatch.setattr(checkpoint, "write", lambda path, content: write(path, content[:-1]))
    code, _, error = run(*RUN, "--out", tmp_path)
    assert code == 2
    assert "what was read back differs" in error
    assert files(tmp_path) == ["metrics.jsonl"]


def test_what_a_killed_write_left_is_gone_after_the_next_run(run, tmp_path):
    left = [".checkpoint-new.safetensors.1.batchmix-part", ".model.safetensors.1.batchmix-part"]
    for name in (*left, "checkpoint-new.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    assert run(*RUN, "--out", tmp_path)[0] == 0
    assert files(tmp_path) == FILES


def test_a_run_that_cannot_begin_leaves_no_folder(run, images, tmp_path):
    data, out = images("data", rows=20), tmp_path / "new" / "deep"
    (data / "red" / "0.png").write_bytes(b"no image")
    code, _, error = run("train", data, "--epochs", 1, "--model", "mlp", "--out", out)
    assert (code, "0.png" in error) == (2, True)
    assert not (tmp_path / "new").exists()


def test_results_are_json_where_a_class_has_no_test_row(run, images, tmp_path):
    images("data/train", rows=20)
    images("data/test", ("blue", "green"))
    options = ("--epochs", 1, "--model", "mlp", "--accelerator", "cpu", "--out", tmp_path / "out")
    code, text, _ = run("train", tmp_path / "data", *options, "--json")
    assert code == 0
    for content in (text, (tmp_path / "out" / "result.json").read_text()):
        found = json.loads(content, parse_constant=lambda word: pytest.fail(word))
        assert found["best"]["recall"][2] is None


def test_a_model_that_gives_no_finite_numbers_is_told_of(run, tmp_path, monkeypatch):
    train_epoch = loop.train_epoch

    def burst(running, *args):
        loss = train_epoch(running, *args)
        with torch.no_grad():
            next(running.module.parameters()).fill_(torch.nan)
        return loss

    monkeypatch.setattr(loop, "train_epoch", burst)
    code, _, error = run(*RUN, "--out", tmp_path)
    assert (code, "training: the model gives numbers that are not finite" in error) == (2, True)
    assert "Traceback" not in error
    assert files(tmp_path) == []


def test_decoders_by_default(run, images, tmp_path):
    data = images("data", rows=20)
    for name, workers in (("digits", 0), (data, 2)):
        out = tmp_path / f"out {workers}"
        options = ("--epochs", 1, "--model", "mlp", "--limit-train", 50, "--accelerator", "cpu")
        code, _, error = run("train", name, *options, "--out", out)
        assert (code, f"--workers {workers} " in error) == (0, True), error


def test_a_worker_that_is_killed_while_a_step_is_made_is_one_line(
    run, images, tmp_path, monkeypatch
):
    after = resumable._Course._after_step

    def killed(course, done, *args):
        after(course, done, *args)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(5)  # the signal of their end comes first

    monkeypatch.setattr(resumable._Course, "_after_step", killed)
    options = ("--epochs", 1, "--model", "mlp", "--batch-size", 8, "--accelerator", "cpu", "-q")
    code, _, error = run("train", images("data", rows=20), *options, "--out", tmp_path / "out")
    assert (code, error.count("\n")) == (2, 1), error
    assert "--workers: a worker that reads rows was ended" in error


def test_a_diverged_run_says_so(run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "rate", lambda *_: 1e30)
    code, _, error = run(*RUN, "--lr", 1000, "--out", tmp_path)
    assert code == 2
    assert "the loss is nan in epoch" in error
    assert "--lr 0.1" in error
    assert files(tmp_path) == []


def test_logs(run, tmp_path):
    code, text, _ = run(*SMALL, *MIXED, "--log", "csv", "--out", tmp_path)
    assert (code, str(tmp_path / "log.csv") in text) == (0, True)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].split(",") == [
        "step", "train/loss", "train/lr", "mix/lam", "mix/hardness", "mix/unmixed", "mix/mixup",
        "mix/cutmix", "train/epoch", "train/epoch_loss", "held_out/accuracy",
    ]  # fmt: skip
    assert (tmp_path / "first_batch.png").exists()


def test_json_is_one_document(run, tmp_path):
    code, text, error = run(*RUN, "--json", "--quiet", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert json.loads(text)["best"]["accuracy"] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--policy", "mixup:1", "--cutmix", 1), "beside --mixup, --cutmix or --smoothing"),
        (("--policy", "none mixup:1"), "It is one policy"),
        (("--policy", "regmixup", "--mix-on", "workers"), "--mix-on: got workers with 'regmixup'"),
        (("--lr", 1e30), "--lr: got 1e+30"),
        (("--seed", 2**70), "--seed"),
        (("--image-size", 10**6), "--image-size"),
        (("--finetune",), "--finetune: got it without --pretrained"),
        (("--log", "paper"), "--log: got 'paper'"),
        (("--ema", 1.0), "--ema: got 1.0"),
        (("--sound", "loud"), "'loud' is not one of 'mel', 'wave'"),
    ],
)
def test_wrong_options(run, tmp_path, options, says):
    code, _, error = run(*RUN, *options, "--quiet", "--out", tmp_path)
    assert (code, error.count("\n"), says in error) == (2, 1, True), error


def test_rows_that_cannot_be_split_are_told_of_before_anything_else(run, images, tmp_path):
    flat = images("data", ["red"]) / "red"
    for data, says in (("digits", "3 rows train"), (flat, "8 files and no class folders")):
        code, _, error = run("train", data, "--limit-train", 3, "--out", tmp_path / "out")
        assert (code, error.count("\n"), says in error) == (2, 1, True), error


def test_how_many_rows_there_were_and_what_a_temperature_at_its_end_means():
    one = {"epoch": 0, "accuracy": 0.1, "temperature": 100.0}
    result = {"best": one, "last": one, "rows": {"train": 1000, "held_out": 9, "test": 99}}
    text = "\n".join(trained(result, Path("out"), []))
    assert "temperature 100.00: the logits of the held-out rows tell nothing" in text
    assert "rows: 1,000 train, 9 held out, 99 test" in text


@pytest.mark.parametrize("words", [("--policy", "deit"), ("--smoothing", 0.2)])
def test_numbers_have_no_label_smoothing(run, images, tmp_path, words):
    data = images("data", ["red"]) / "red"
    lines = "\n".join(f"{i}.png,{i}.5" for i in range(8))
    (tmp_path / "t.csv").write_text(f"file,label\n{lines}\n")
    code, _, error = run("train", data, "--targets", tmp_path / "t.csv", *words)
    assert (code, f"{words[0]}: the targets are numbers" in error) == (2, True), error


def test_the_launcher_says_how_many_processes_there_are(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert processes(None) == (1, 1, 0)
    assert processes(3) == (3, 1, 0)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes(None) == (1, 1, 0)  # left over; no launcher says which one this is
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert processes(None) == processes(2) == (2, 2, 3)
    with pytest.raises(ValueError, match="WORLD_SIZE=4, LOCAL_WORLD_SIZE=2 and RANK=3"):
        processes(4)


def test_the_engine_leaves_torchvision_alone():
    code = "import sys, batchmix.cli.lab.engine.loop, batchmix.cli.lab.trials.trial; "
    code += "print('torchvision' in sys.modules, 'torchmetrics' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert done.stdout.split() == ["False", "False"], done.stderr
