"""`--log`: what is written can be read back, and a run that goes on goes on in the same log."""

import csv
import io
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from batchmix._errors import MixError
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.run.logs import Logs, check_logs, open_logs
from batchmix.cli.show.batch import first_batch, pixels

CONFIG = {"model": "mlp", "epochs": 3, "place": None}
PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def table(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_of_logs(monkeypatch):
    assert check_logs(["csv,tensorboard", "csv"]) == ("csv", "tensorboard")
    assert check_logs([]) == ()
    with pytest.raises(MixError, match=r"got 'tb'"):
        check_logs(["tb"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "wandb", "mlflow"):
        with pytest.raises(MixError, match=f"pip install {name}"):
            check_logs([name])


def test_csv_and_its_continuation(tmp_path):
    logs = open_logs(["csv"], tmp_path, CONFIG)
    logs.values(0, {"train/loss": 2.5})
    logs.values(1, {"train/loss": 1.5, "lr": 0.1})
    logs.image(1, "mix/first_batch", PICTURE)
    logs.values(2, {"lr": 0.05})
    # no close: the process was killed, in the middle of a line
    assert [row["train/loss"] for row in table(tmp_path)] == ["2.5", "1.5", ""]
    with (tmp_path / "log.csv").open("a") as file:
        file.write("1")
    logs = open_logs(["csv"], tmp_path, CONFIG, start=2)
    logs.values(2, {"train/loss": 0.5, "held_out/accuracy": 0.9})
    logs.close()
    rows = table(tmp_path)
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    assert rows[2] == {"step": "2", "train/loss": "0.5", "lr": "", "held_out/accuracy": "0.9"}
    assert rows[1]["lr"] == "0.1"
    with Image.open(tmp_path / "first_batch.png") as image:
        assert np.array_equal(np.asarray(image), PICTURE)
    open_logs(["csv"], tmp_path, CONFIG).close()
    assert table(tmp_path) == []  # a new run


def test_tensorboard_and_its_continuation(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start in (0, 2):
        logs = open_logs(["tensorboard"], tmp_path, CONFIG, start=start)
        for step in range(start, start + 3):
            logs.values(step, {"train/loss": 10 * start + step})
        if not start:
            logs.image(0, "mix/first_batch", PICTURE)
        logs.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True).Reload()
    scalars = [(one.step, one.value) for one in found.Scalars("train/loss")]
    assert scalars == [(0, 0), (1, 1), (2, 22), (3, 23), (4, 24)]
    (image,) = found.Images("mix/first_batch")
    assert np.array_equal(pixels(image.encoded_image_string), PICTURE)
    (text,) = found.Tensors("config/text_summary")
    assert b'"model": "mlp"' in text.tensor_proto.string_val[0]


def test_tensorboard_does_not_import_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    program = (
        "import sys, numpy\nsys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "from batchmix.cli.lab.run.logs import open_logs\n"
        "logs = open_logs(['tensorboard'], Path(sys.argv[1], 'run'), {})\n"
        "logs.values(0, {'a': 1.0})\n"
        "logs.image(0, 'b', numpy.zeros((4, 4, 3), numpy.uint8))\nlogs.close()\nprint('whole')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "whole\n", done.stderr


class Stand:
    """A module whose functions note their calls."""

    def __init__(self, **made):
        self.calls, self.made = [], made

    def __getattr__(self, name):
        def call(*args, **options):
            self.calls.append((name, args, options))
            return self.made.get(name)

        return call


def test_wandb_is_called_as_it_wants(tmp_path, monkeypatch):
    run = Stand()
    module = Stand(init=run, Image="picture")
    monkeypatch.setitem(sys.modules, "wandb", module)
    out = tmp_path / "my-run"
    logs = open_logs(["wandb"], out, CONFIG)
    logs.values(0, {"lr": 0.1})
    logs.image(0, "mix/first_batch", PICTURE)
    logs.close()
    (_, _, first), (name, (array,), _) = module.calls
    assert (first["project"], first["name"], first["dir"]) == ("batchmix", "my-run", str(out))
    assert (first["config"], first["resume"], name) == (CONFIG, "allow", "Image")
    assert array is PICTURE
    assert run.calls == [
        ("log", ({"lr": 0.1},), {"step": 0}),
        ("log", ({"mix/first_batch": "picture"},), {"step": 0}),
        ("finish", (), {}),
    ]
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    open_logs(["wandb"], out, CONFIG, start=4)
    again = module.calls[-1][2]
    assert (again["id"], again["project"]) == (first["id"], "mine")
    open_logs(["wandb"], out, CONFIG)
    assert module.calls[-1][2]["id"] != first["id"]


def test_mlflow_is_called_as_it_wants(tmp_path, monkeypatch):
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))
    module = Stand(start_run=run)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    logs = open_logs(["mlflow"], tmp_path / "my-run", CONFIG)
    logs.values(3, {"lr": 0.1})
    logs.image(3, "mix/first_batch", PICTURE)
    logs.close()
    open_logs(["mlflow"], tmp_path / "my-run", CONFIG, start=4)
    assert module.calls == [
        ("start_run", (), {"run_id": None, "run_name": "my-run"}),
        ("log_params", ({"model": "mlp", "epochs": "3", "place": "None"},), {}),
        ("log_metrics", ({"lr": 0.1},), {"step": 3}),
        ("log_image", (PICTURE, "mix/first_batch.png"), {}),
        ("end_run", (), {}),
        ("start_run", (), {"run_id": "abc", "run_name": None}),
    ]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_service_that_refuses(tmp_path, monkeypatch, name):
    def refuse(**_):
        raise RuntimeError("no account\nhere.")

    module = types.SimpleNamespace(init=refuse, start_run=refuse)
    monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(MixError, match=f"--log {name}: no account here."):
        open_logs([name], tmp_path, CONFIG)


def test_without_logs_nothing_is_written(tmp_path):
    logs = open_logs([], tmp_path / "out", CONFIG)
    logs.values(0, {"a": 1.0})
    logs.image(0, "b", PICTURE)
    logs.close()
    assert isinstance(logs, Logs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("form", "kind"),
    [("image", "ids"), ("grey", "soft"), ("mel", "labels"), ("wave", "numbers")],
)
def test_the_first_batch(form, kind):
    rng = np.random.default_rng(0)
    shape = {"image": (8, 8, 3), "grey": (8, 8, 1), "mel": (64, 20, 1), "wave": (300, 2)}[form]
    x = rng.integers(0, 256, (5, *shape)).astype(np.float32)
    names = ("a $ sign", "\x1b" + "long" * 9, "c")
    targets = {
        "ids": np.array([0, 1, 2, 0, 1]), "soft": rng.dirichlet([1, 1, 1], 5),
        "labels": np.eye(3)[[0, 1, 2, 0, 1]] * 0.0, "numbers": rng.normal(size=(5, 3)),
    }[kind]  # fmt: skip
    task = Task({"labels": "labels", "numbers": "numbers"}.get(kind, "classes"), names)
    form = "image" if form == "grey" else form
    png = first_batch(x, targets, task, form)
    array = pixels(png)
    assert array.dtype == np.uint8
    assert array.shape[2] == 3
    assert array.std() > 5
    if form == "image":
        mean, std = [0.4] * shape[-1], [0.2] * shape[-1]
        normal = np.moveaxis((x / 255 - 0.4) / 0.2, -1, 1)
        assert np.array_equal(pixels(first_batch(normal, targets, task, form, mean, std)), array)


def test_targets_of_the_picture_are_in_units(tmp_path, images, run, monkeypatch):
    shown, data = [], images("data", rows=20)
    names = [str(file.relative_to(data)) for file in sorted(data.rglob("*.png"))]
    table = tmp_path / "targets.csv"
    rows = (f"{name},{1000 + i}\n" for i, name in enumerate(names))
    table.write_text("file,age\n" + "".join(rows))
    monkeypatch.setattr(
        "batchmix.cli.show.batch.first_batch", lambda x, y, *_: shown.append(y) or png()
    )
    options = ("--targets", table, "--model", "mlp", "--epochs", 1, "--mixup", 1, "--log", "csv")
    code, _, error = run("train", data, *options, "--out", tmp_path / "out")
    assert code == 0, error
    assert shown[0].min() > 999
    assert shown[0].max() < 1061


def png():
    content = io.BytesIO()
    Image.fromarray(PICTURE).save(content, "png")
    return content.getvalue()
