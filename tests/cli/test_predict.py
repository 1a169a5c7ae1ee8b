"""`batchmix predict`: what the model gives, for files as they were read in training."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from batchmix.cli.lab.data import open_data
from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.loading.feed import Feed, prepare
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.saved.export import load_model, save_model
from batchmix.cli.lab.training import Training

NAMES = ("blue", "green", "red")


def kept(folder, name="mlp", shape=(8, 8, 3), kind="classes", form="image", names=NAMES, **more):
    """A model with weights as they begin; its outputs differ enough to tell rows apart."""
    model = build(name, (shape[-1], *shape[:-1]), len(names), 3)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    channels = shape[-1]
    how = {"image_size": more.pop("image_size", None), "augment": more.pop("augment", "none")}
    save_model(
        folder, model, training=Training(name, epochs=1, batch_size=8, lr=0.1, **how),
        task=Task(kind, names), form=form, shape=shape, mean=[0.4] * channels,
        std=[0.2] * channels, **more,
    )  # fmt: skip
    return model.eval()


def given(model, files):
    """Logits of images of the model's size."""
    x = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    with torch.no_grad():
        return model(prepare(torch.tensor(x), [0.4] * 3, [0.2] * 3, "image"))


def files_of(folder):
    return sorted(map(str, folder.rglob("*.png")))


@pytest.fixture
def ready(tmp_path, images):
    """(model, its folder, a folder of images in class folders)."""
    return kept(tmp_path / "model", temperature=2.0), tmp_path / "model", images("data", rows=3)


def test_probabilities_are_the_models_at_its_temperature(run, ready):
    model, folder, data = ready
    code, out, error = run("predict", folder, data, "--json", "--top-k", 3)
    assert code == 0
    assert "calibrated by the temperature 2.00" in error
    found = json.loads(out)
    files = files_of(data)
    assert [one["file"] for one in found["files"]] == files
    expected = (given(model, files) / 2).softmax(1)
    for one, row in zip(found["files"], expected, strict=True):
        order = row.argsort(descending=True)
        assert [p["name"] for p in one["predicted"]] == [NAMES[i] for i in order]
        assert [p["probability"] for p in one["predicted"]] == pytest.approx(row[order].tolist())
    assert (found["temperature"], found["model"], found["skipped"]) == (2.0, "mlp", [])


def test_ways_to_name_files_give_the_same(run, ready, monkeypatch):
    _, folder, data = ready
    files = files_of(data)
    whole = run("predict", folder, data, "--csv", "-q")[1]
    assert run("predict", folder, *files, "--csv", "-q")[1] == whole
    assert run("predict", folder, *data.iterdir(), data, "--csv", "-q")[1].count("\n") == 10
    small = run("predict", folder, data, "--csv", "-q", "--batch-size", 2)[1].splitlines()
    for line, other in zip(small, whole.splitlines(), strict=True):
        assert [c[:5] for c in line.split(",")[1:]] == [c[:5] for c in other.split(",")[1:]]
    listed = io.TextIOWrapper(io.BytesIO("\n".join(files).encode()))
    monkeypatch.setattr(sys, "stdin", listed)
    assert run("predict", folder, "-", "--csv", "-q")[1] == whole
    monkeypatch.chdir(data.parent)
    short = [str(Path(file).relative_to(data.parent)) for file in files]
    blank = "\n\n".join(short)  # an empty line is no file, and not this folder
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(blank.encode())))
    for words in (short, [data.name], ["-"]):
        code, out, _ = run("predict", folder, *words, "--csv", "-q")
        assert (code, out) == (0, whole.replace(f"{data.parent}/", ""))
    lines = list(csv.DictReader(io.StringIO(whole)))
    assert list(lines[0]) == ["file", "label", "probability", "target"]
    assert [line["target"] for line in lines] == ["blue"] * 3 + ["green"] * 3 + ["red"] * 3


@pytest.mark.parametrize(("temperature", "says"), [(100.0, "tell nothing"), (0.01, "is right")])
def test_a_temperature_at_an_end_of_its_range_is_told_of(run, tmp_path, temperature, says):
    kept(tmp_path / "model", temperature=temperature, shape=(8, 8, 1), names=tuple("0123456789"))
    code, _, error = run("predict", tmp_path / "model", "digits", "--json")
    assert (code, says in error) == (0, True)
    kept(tmp_path / "model", temperature=1.5, shape=(8, 8, 1), names=tuple("0123456789"))
    assert says not in run("predict", tmp_path / "model", "digits", "--json")[2]


def test_the_table_fits_and_names_are_escaped(run, tmp_path, ready):
    folder, data = tmp_path / "long", ready[2]
    kept(folder, names=("a\x1b[31m\nb", "b" * 90, "c"))
    long = data / ("x" * 120 + "\x1b[2J.png")
    (data / "blue" / "0.png").rename(long)
    code, out, error = run("predict", folder, data, "--top-k", 2)
    assert (code, "not calibrated" in error) == (0, True)
    assert "\x1b" not in out
    assert "target" not in out  # no folder is a class of this model
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) == 1 + 2 * 9
    text = run("predict", folder, data, "--csv", "-q")[1]
    assert "\x1b" not in text
    assert len(list(csv.reader(io.StringIO(text)))) == 10


def test_accuracy_and_confusions(run, tmp_path, ready):
    model, folder, data = ready
    png = tmp_path / "made" / "confusion.png"
    code, out, _ = run("predict", folder, data, "--json", "--confusion", png)
    assert code == 0
    found = json.loads(out)
    predicted = given(model, files_of(data)).argmax(1).numpy()
    y = np.repeat([0, 1, 2], 3)
    matrix = np.zeros((3, 3), int)
    np.add.at(matrix, (y, predicted), 1)
    assert found["confusion"] == {"names": list(NAMES), "rows": matrix.tolist()}
    assert found["metrics"]["accuracy"] == pytest.approx(float((y == predicted).mean()))
    with Image.open(png) as picture:
        assert min(picture.size) > 200
    code, out, _ = run("predict", folder, data, "--confusion", png)
    assert f"accuracy: {100 * (y == predicted).mean():.1f} %" in out
    assert out.rstrip().endswith(str(png))
    wrong = [line for line in out.splitlines() if "taken for" in line]
    assert len(wrong) == np.count_nonzero(matrix - np.diag(np.diag(matrix)))


def test_a_matrix_needs_classes(run, tmp_path, ready, images):
    code, _, error = run("predict", ready[1], images("odd", ("a", "b")), "--confusion", "x.png")
    assert (code, "the name of its folder, or --targets" in error) == (2, True)


def test_the_test_part_of_a_folder(run, tmp_path, ready, images):
    images("parts/train")
    images("parts/test", rows=2)
    code, out, error = run("predict", ready[1], tmp_path / "parts", "--csv")
    assert code == 0
    assert "parts/test" in error
    assert out.count("/test/") == 6
    assert "/train/" not in out


@pytest.mark.parametrize("form", ["folder", "table", "csv"])
def test_rows_that_may_have_been_learnt_are_told_of(run, ready, tmp_path, form):
    _, folder, data = ready
    said = "no test part: rows that the model was trained on may be among them"
    options = []
    if form == "csv":
        table = tmp_path / "targets.csv"
        files = [str(p.relative_to(data)) for p in sorted(data.rglob("*.png"))]
        table.write_text("file,label\n" + "".join(f"{name},green\n" for name in files))
        options = ["--targets", table]
    if form != "table":
        options.append("--json")
    code, out, _ = run("predict", folder, data, *options, "-q")
    assert (code, said in out) == (0, True), out
    if form == "folder":
        out = run("predict", folder, *files_of(data)[:2], "--json")[1]
        assert said in json.loads(out)["rows"]


def test_a_file_of_another_size_has_the_size_of_training(run, ready, tmp_path):
    model, folder, _ = ready
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels.repeat(5, 0).repeat(3, 1)).save(tmp_path / "large.png")
    Image.fromarray(pixels).save(tmp_path / "small.png")
    files = [tmp_path / "large.png", tmp_path / "small.png"]
    found = []
    for order in (files, files[::-1]):  # the first file does not decide
        document = json.loads(run("predict", folder, *order, "--json", "--top-k", 3)[1])
        found.append({
            one["file"]: {p["name"]: p["probability"] for p in one["predicted"]}
            for one in document["files"]
        })  # fmt: skip
    expected = dict(zip(NAMES, (given(model, files[1:])[0] / 2).softmax(0).tolist()))
    for one in found:
        assert one[str(files[1])] == pytest.approx(expected, rel=1e-3)
        assert one[str(files[0])] == pytest.approx(found[0][str(files[0])], rel=1e-3)


def test_a_data_set_by_name_in_grey(run, tmp_path):
    model = kept(tmp_path / "m", shape=(8, 8, 1), names=tuple("0123456789"))
    code, out, _ = run("predict", tmp_path / "m", "digits", "--json")
    found = json.loads(out)
    assert (code, len(found["files"])) == (0, 1797)
    data = open_data("digits")
    x = torch.tensor(np.stack([data.train[i] for i in range(1797)]))
    with torch.no_grad():
        predicted = model(prepare(x, [0.4], [0.2], "image")).argmax(1).numpy()
    assert found["metrics"]["accuracy"] == pytest.approx((predicted == data.train.y).mean())
    # an image in colours counts as its brightness
    Image.fromarray(data.train[5].repeat(3, 2)).save(tmp_path / "five.png")
    one = json.loads(run("predict", tmp_path / "m", tmp_path / "five.png", "--json", "-q")[1])
    (got,), (there,) = one["files"][0]["predicted"], found["files"][5]["predicted"]
    assert got["name"] == there["name"]
    assert got["probability"] == pytest.approx(there["probability"], rel=1e-5)


def test_targets_of_a_csv(run, tmp_path, ready):
    _, folder, data = ready
    table = tmp_path / "targets.csv"
    files = [str(p.relative_to(data)) for p in sorted(data.rglob("*.png"))]
    table.write_text("file,label\n" + "".join(f"{name},green\n" for name in files))
    code, out, _ = run("predict", folder, data, "--targets", table, "--json")
    assert code == 0
    assert {one["target"] for one in json.loads(out)["files"]} == {"green"}
    table.write_text("file,label\n" + "".join(f"{name},pink\n" for name in files))
    code, _, error = run("predict", folder, data, "--targets", table)
    assert (code, "pink" in error) == (2, True)


def test_labels_and_numbers(run, tmp_path, ready):
    data = ready[2]
    files = files_of(data)
    names = [f[len(str(data)) + 1 :] for f in files]
    model = kept(tmp_path / "labels", kind="labels")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(f"{n},red|blue\n" for n in names[:4])
                     + "".join(f"{n},green\n" for n in names[4:]))  # fmt: skip
    code, out, _ = run("predict", tmp_path / "labels", data, "--targets", table, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert (code, lines[0]["target"], lines[8]["target"]) == (0, "blue|red", "green")
    found = [[float(line[name]) for name in NAMES] for line in lines]
    assert np.allclose(found, given(model, files).sigmoid(), rtol=1e-4)

    model = kept(tmp_path / "numbers", kind="numbers", names=("age", "size"))
    table.write_text("file,age,size\n" + "".join(f"{n},1.5,{i}\n" for i, n in enumerate(names)))
    code, out, _ = run("predict", tmp_path / "numbers", data, "--targets", table, "--json")
    found = json.loads(out)
    values = [[p["value"] for p in one["predicted"]] for one in found["files"]]
    assert (code, found["files"][2]["target"]) == (0, [1.5, 2.0])
    assert np.allclose(values, given(model, files), rtol=1e-4)
    assert set(found["metrics"]) == {"rmse", "mae", "r2"}
    code, out, _ = run("predict", tmp_path / "numbers", files[0])
    assert (code, out.count("age"), out.count("size")) == (0, 1, 1)


@pytest.mark.parametrize(("side", "augment"), [(48, "none"), (96, "light")])
def test_timm_says_the_same_of_a_photograph(run, tmp_path, side, augment):
    import timm
    from timm.data import create_transform, resolve_data_config

    how = {"image_size": side, "augment": augment}
    kept(tmp_path / "m", "timm:resnet18", (side, side, 3), **how)
    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    smooth = Image.fromarray(noise).resize((200, 150), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.png")
    found = json.loads(
        run("predict", tmp_path / "m", tmp_path / "a.png", "--json", "--top-k", 3)[1]
    )
    ours = {p["name"]: p["probability"] for p in found["files"][0]["predicted"]}
    model = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True).eval()
    x = create_transform(**resolve_data_config({}, model=model))(smooth)[None]
    with torch.no_grad():
        theirs = model(x).softmax(1)[0]
    # timm rounds the size from which it crops
    near = 1e-4 if augment == "none" else 0.03
    for name, value in zip(model.pretrained_cfg["label_names"], theirs, strict=True):
        assert ours[name] == pytest.approx(float(value), abs=near)


@pytest.mark.parametrize("sound", ["wave", "mel"])
def test_sounds(run, tmp_path, sound):
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            clip = (3000 * rng.standard_normal(3000 + 900 * i)).astype(np.int16)
            wavfile.write(tmp_path / "data" / name / f"{i}.wav", 8000, clip)
    data = open_data(str(tmp_path / "data"), sound=sound)
    shape = data.train[0].shape
    model = kept(
        tmp_path / "m", "m5" if sound == "wave" else "convnet", shape, form=sound, rate=8000
    )
    code, out, _ = run("predict", tmp_path / "m", tmp_path / "data", "--json", "--top-k", 3)
    assert code == 0
    found = json.loads(out)["files"]
    feed = Feed(data.train, sound, load_model(tmp_path / "m")[1].training, train=False)
    with torch.no_grad():
        said = [model(prepare(b.x, [0.4], [0.2], sound)).softmax(1) for b in feed.epoch(0)]
    for one, row in zip(found, torch.cat(said), strict=True):
        values = {p["name"]: p["probability"] for p in one["predicted"]}
        assert [values[name] for name in NAMES] == pytest.approx(row.tolist(), rel=1e-4)
    wavfile.write(tmp_path / "other.wav", 16000, np.zeros(9000, np.int16))
    code, _, error = run("predict", tmp_path / "m", tmp_path / "other.wav")
    assert (code, "other.wav" in error, "16000 Hz" in error) == (2, True, True)


def test_files_that_cannot_be_read(run, ready):
    _, folder, data = ready
    (data / "blue" / "bad.png").write_bytes(b"no image\x1b")
    code, out, error = run("predict", folder, data)
    assert (code, "bad.png" in error, "Traceback" in error) == (2, True, False)
    code, out, _ = run("predict", folder, data, "--skip-bad", "--json")
    found = json.loads(out)
    assert (code, len(found["files"])) == (0, 9)
    assert found["skipped"][0]["file"].endswith("bad.png")
    assert "decoded" in found["skipped"][0]["why"]
    code, _, error = run("predict", folder, data / "blue" / "bad.png", "--skip-bad")
    assert (code, "no file can be read" in error) == (2, True)


WRONG = {
    "no files": ((), "FILES"),
    "csv and json": (("x.png", "--csv", "--json"), "--csv"),
    "a file that is not there": (("none.png",), "no such file"),
    "a folder that is not there": (("./none",), "no such file"),
    "an empty word, which is no folder": (("",), "no such file"),
    "a sound": (("a.wav",), "FILES"),
    "a matrix that is a folder": (("data", "--confusion", "."), "--confusion confusion.png"),
    "a matrix nowhere": (("data", "--confusion", "/proc/x/c.png"), "--confusion /proc/x"),
    "a device that is not there": (("a.png", "--accelerator", "mps"), "--accelerator mps"),
    "more processes than a machine has": (("a.png", "--workers", "513"), "--workers"),
    "no repository": (("--push-to-hub", "../x"), "user/name"),
    "targets without a folder": (("a.png", "--targets", "t.csv"), "--targets"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(run, ready, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"")
    words, said = WRONG[name]
    code, out, error = run("predict", ready[1], *words)
    assert (code, out, said in error) == (2, "", True)


def test_what_is_wrong_is_told_before_torch_is_imported(ready):
    program = (
        "import sys\nfrom batchmix.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n"
        "    print(stop.code, sorted({'torch', 'matplotlib', 'sklearn', 'datasets', 'PIL', 'timm'}"
        " & set(sys.modules)))"
    )
    for words in (
        ("/no/model", "a.png"),
        (ready[1], "/no/file.png"),
        (ready[1], "--csv", "--json"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, "predict", *map(str, words)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == "2 []\n", done.stdout + done.stderr


class Hub:
    """Stands in for the client of the Hub."""

    calls: list = []  # noqa: RUF012
    fails = False

    def __init__(self, **options):
        self.calls.append(("made", options))

    def create_repo(self, repo, **options):
        if self.fails:
            raise ConnectionError("no route to the Hub\x1b")
        self.calls.append(("create_repo", repo, options))

    def upload_folder(self, **options):
        self.calls.append(("upload_folder", options))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "token")
    monkeypatch.setattr(Hub, "calls", [])
    return Hub


def test_push_to_the_hub(run, ready, hub):
    _, folder, data = ready
    code, out, error = run("predict", folder, data, "--push-to-hub", "me/colours")
    assert (code, "huggingface.co/me/colours" in error) == (0, True)
    assert [call[0] for call in hub.calls] == ["made", "create_repo", "upload_folder"]
    assert hub.calls[1][1:] == ("me/colours", {"exist_ok": True})
    sent = hub.calls[2][1]
    assert (sent["repo_id"], sent["folder_path"]) == ("me/colours", folder)
    assert sent["allow_patterns"] == ["model.safetensors", "config.json", "README.md"]
    card = (folder / "README.md").read_text()
    assert "library_name: batchmix" in card
    assert "pipeline_tag: image-classification" in card
    assert "blue, green, red" in card
    assert "| accuracy |" in card
    (folder / "README.md").write_text("mine")
    code, out, _ = run("predict", folder, "--push-to-hub", "me/colours")
    assert (code, out) == (0, "https://huggingface.co/me/colours\n")
    assert (folder / "README.md").read_text() == "mine"


def test_a_card_of_timm_says_how_to_load_it(run, tmp_path, hub):
    kept(tmp_path / "m", "timm:resnet18", (32, 32, 3), names=("a|b", "c"))
    assert run("predict", tmp_path / "m", "--push-to-hub", "me/net")[0] == 0
    card = (tmp_path / "m" / "README.md").read_text()
    assert "library_name: timm" in card
    assert 'timm.create_model("hf-hub:me/net", pretrained=True)' in card
    assert r"a\|b" in card


def test_the_hub_cannot_be_reached(run, ready, hub, monkeypatch):
    monkeypatch.setattr(hub, "fails", True)
    code, _, error = run("predict", ready[1], "--push-to-hub", "me/colours")
    assert (code, "no route to the Hub" in error, "\x1b" in error) == (2, True, False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    code, _, error = run("predict", ready[1], ready[2], "--push-to-hub", "me/colours")
    assert (code, "there is no token" in error, "HF_TOKEN" in error) == (2, True, True)
