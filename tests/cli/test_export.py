"""A saved model: read back exactly, by us and by timm; and every folder that is none."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from timm.data import create_transform, resolve_data_config

from batchmix._errors import MixError
from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.saved.export import load_model, save_model
from batchmix.cli.lab.training import Training

NAMES = ("cat", "dog", "élan")
MEAN, STD = (0.48, 0.42, 0.36), (0.24, 0.25, 0.28)


def kept(folder, name="resnet20", shape=(3, 32, 32), kind="classes", **more):
    """A model with statistics of its own, saved."""
    model = build(name, shape, len(NAMES), 7)
    for value in model.state_dict().values():  # batch norms that are not as they began
        if value.dtype == torch.float32 and value.ndim == 1:
            value += 0.1
    training = Training(name, epochs=3, batch_size=8, lr=0.1, image_size=shape[1])
    save_model(
        folder, model, training=training, task=Task(kind, NAMES), form="image",
        shape=(*shape[1:], shape[0]), mean=MEAN[: shape[0]], std=STD[: shape[0]], **more,
    )  # fmt: skip
    return model.eval()


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet20", "timm:resnet18"])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_read_back_exactly(tmp_path, name, channels):
    model = kept(tmp_path, name, (channels, 32, 32), temperature=1.5)
    state = torch.random.get_rng_state()
    found, saved = load_model(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)
    x = torch.randn(2, channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(found(x), model(x))
    assert not found.training
    assert saved.task == Task("classes", NAMES)
    assert (saved.form, saved.shape, saved.temperature) == ("image", (channels, 32, 32), 1.5)
    assert saved.mean == MEAN[:channels]
    assert saved.std == STD[:channels]
    assert (saved.training.model, saved.training.image_size) == (name, 32)
    assert {"python", "batchmix", "numpy", "torch"} == set(saved.versions)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_weights_never_stand_beside_the_config_of_another_model(tmp_path, monkeypatch):
    kept(tmp_path, "mlp", (1, 8, 8))
    replace = Path.replace

    def killed(path, target):
        replace(path, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, "mlp", (1, 8, 8), temperature=2.0)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("name", "side"), [("timm:resnet18.a1_in1k", 48), ("timm:vit_tiny_patch16_224", 224)]
)
def test_timm_reads_it_with_our_classes_and_preprocessing(tmp_path, name, side):
    model = kept(tmp_path, name, (3, side, side))
    found = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert found.pretrained_cfg["label_names"] == list(NAMES)
    config = resolve_data_config({}, model=found)
    assert tuple(config["input_size"]) == (3, side, side)
    assert config["mean"] == pytest.approx(MEAN)
    assert config["std"] == pytest.approx(STD)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    from PIL import Image

    x = create_transform(**config)(Image.fromarray(image))[None]
    ours = torch.tensor(image).permute(2, 0, 1).float() / 255 - torch.tensor(MEAN).view(3, 1, 1)
    ours = (ours / torch.tensor(STD).view(3, 1, 1))[None]
    with torch.no_grad():
        torch.testing.assert_close(found(x), model(ours), rtol=1e-4, atol=1e-4)


def test_wrappers_leave_no_trace_in_the_names(tmp_path):
    model = kept(tmp_path / "plain", "mlp")
    _, saved = load_model(tmp_path / "plain")
    save_model(
        tmp_path / "wrapped", torch.nn.DataParallel(torch.compile(model)), training=saved.training,
        task=saved.task, form="image", shape=(32, 32, 3), mean=saved.mean, std=saved.std,
    )  # fmt: skip
    names = [
        set(safetensors.torch.load_file(tmp_path / part / "model.safetensors"))
        for part in ("plain", "wrapped")
    ]
    assert names[0] == names[1] == set(model.state_dict())


def test_a_crash_leaves_no_half_file(tmp_path, monkeypatch):
    kept(tmp_path, "mlp")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept(tmp_path, "convnet")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _edit(path, change):
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


CONFIGS = {
    "not JSON": lambda text: text[:-9],
    "not text": lambda text: b"\xff\xfe\x00" + text,
    "empty": lambda text: b"",
    "a list": lambda text: b"[1]",
    "deep": lambda text: b"[" * 100_000,
    "large": lambda text: b" " * (2**24 + 1),
    "another's": lambda text: b'{"architecture": "resnet18", "num_classes": 3}',
}
TRAINING = {"model": "mlp", "epochs": 3, "batch_size": 1, "lr": 1}
FIELDS = {
    "format": ("batchmix", "format", 2),
    "task": ("batchmix", "task", "words"),
    "form": ("batchmix", "form", ["image"]),
    "temperature": ("batchmix", "temperature", float("nan")),
    "rate": ("batchmix", "rate", None),
    "temperature of 0": ("batchmix", "temperature", 0),
    "names": ("label_names", None, ["a", "b"]),
    "names that are none": ("label_names", None, [1, 2, 3]),
    "a name for all": ("label_names", None, ["7", "7", "7"]),
    "outputs": ("num_classes", None, 10**12),
    "architecture": ("architecture", None, "resnet18"),
    "size": ("pretrained_cfg", "input_size", [3, 0, 32]),
    "huge size": ("pretrained_cfg", "input_size", [3, 10**9, 10**9]),
    "large size": ("pretrained_cfg", "input_size", [3, 4000, 4000]),
    "size as text": ("pretrained_cfg", "input_size", "3,32,32"),
    "mean": ("pretrained_cfg", "mean", [0.5]),
    "infinite mean": ("pretrained_cfg", "mean", [0.5, 0.5, float("inf")]),
    "std": ("pretrained_cfg", "std", [0.5, 0.5, 0]),
    "no training": ("batchmix", "training", None),
    "a training without a model": ("batchmix", "training", {"epochs": 1}),
    "epochs": ("batchmix", "training", TRAINING | {"epochs": "3"}),
    "negative epochs": ("batchmix", "training", TRAINING | {"epochs": -5}),
    "epochs that are none": ("batchmix", "training", TRAINING | {"epochs": True}),
    "absurd epochs": ("batchmix", "training", TRAINING | {"epochs": 10**30}),
    "no rows in a batch": ("batchmix", "training", TRAINING | {"batch_size": 0}),
    "infinite rate": ("batchmix", "training", TRAINING | {"lr": float("inf")}),
    "augment": ("batchmix", "training", TRAINING | {"augment": "\x1b[2J"}),
    "optimizer": ("batchmix", "training", TRAINING | {"optimizer": ["sgd"]}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_is_none(tmp_path, name):
    kept(tmp_path, "mlp")
    path = tmp_path / "config.json"
    path.write_bytes(CONFIGS[name](path.read_bytes()))
    with pytest.raises(MixError, match=r"config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", FIELDS)
def test_a_config_with_a_wrong_field(tmp_path, name):
    kept(tmp_path, "mlp")
    section, key, value = FIELDS[name]

    def change(config):
        if key is None:
            config[section] = value
        else:
            config[section][key] = value

    _edit(tmp_path / "config.json", change)
    with pytest.raises(MixError, match="MODEL"):
        load_model(tmp_path)


def test_names_in_a_file_cannot_move_a_cursor(tmp_path):
    kept(tmp_path, "mlp")
    names = ["\x1b]0;title\x07", "\ud800", "a\nb"]
    _edit(tmp_path / "config.json", lambda config: config.update(label_names=names))
    _, saved = load_model(tmp_path)
    assert saved.task.names == ("\\x1b]0;title\\x07", "\\ud800", "a\\nb")


@pytest.mark.parametrize("model", ["hf-hub:x/y", "timm:hf-hub:x/y", "timm:../x", "os.system", ""])
def test_no_name_in_a_file_is_fetched_or_imported(tmp_path, model):
    kept(tmp_path, "mlp")

    def change(config):
        config["batchmix"]["training"]["model"] = model
        config["architecture"] = model.removeprefix("timm:").partition(".")[0]

    _edit(tmp_path / "config.json", change)
    with pytest.raises(MixError):
        load_model(tmp_path)


def _tensors(change):
    def edit(path):
        tensors = safetensors.torch.load_file(path)
        change(tensors)
        safetensors.torch.save_file(tensors, path)

    return edit


def _header(length):
    return lambda path: path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])


WEIGHTS = {
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "a pickle": lambda path: torch.save({"1.weight": torch.zeros(3)}, path),
    "a huge header": _header(2**60),
    "a header past the end": _header(2**26),
    "no tensor": _tensors(lambda tensors: tensors.clear()),
    "a tensor less": _tensors(lambda tensors: tensors.pop("1.bias")),
    "a tensor more": _tensors(lambda tensors: tensors.update(more=torch.zeros(2))),
    "another shape": _tensors(lambda t: t.update({"1.bias": torch.zeros(255)})),
    "another dtype": _tensors(lambda t: t.update({"1.bias": t["1.bias"].to(torch.float16)})),
    "not finite": _tensors(lambda t: t["1.bias"].fill_(float("nan"))),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none(tmp_path, name):
    kept(tmp_path, "mlp")
    WEIGHTS[name](tmp_path / "model.safetensors")
    with pytest.raises(MixError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(MixError, match="No such file"):
        load_model(tmp_path / "none\x1b")
    (tmp_path / "file").write_text("")
    with pytest.raises(MixError, match="Not a directory"):
        load_model(tmp_path / "file")
