"""JSON and safetensors that anybody may have written: bounded memory, one line, nothing silent."""

import json
import struct

import pytest
import torch

from batchmix._errors import MixError
from batchmix.cli._json import parse_json, read_json
from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.saved import export
from batchmix.cli.lab.saved.config import CONFIG, WEIGHTS
from batchmix.cli.lab.saved.export import load_model, save_model
from batchmix.cli.lab.training import Training
from limited import MB, read

CONFIGURED = "from pathlib import Path\nfrom batchmix.cli.lab.saved.config import read_config"
STATE = "from pathlib import Path\nfrom batchmix.cli.lab.run.state import read_state"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "it has NaN"),
        (b"[-Infinity]", "it has -Infinity"),
        (b'{"a": 1e999}', "it has 1e999, which is no finite number"),
        (b"[-1" + b"0" * 400 + b".0]", "it has -10*, which is no finite number"),
        (b'{"a": 1, "b": 2, "a": 3}', "it has 'a' twice"),
        (b"1" * 100_000, "integer string conversion"),
        (b"\xff\xfe\xff", "decode"),
        (b'"\\ud800', "escape"),
        (b"", "Expecting value"),
        (b" " * 100, "larger than"),
    ],
)
def test_json_is_refused_with_a_reason(content, says):
    with pytest.raises(ValueError, match=says):
        parse_json(content, 2 * 10**6 if len(content) != 100 else 99)


def test_no_more_than_is_allowed_is_read(tmp_path):
    with pytest.raises(ValueError, match="larger than 16 MiB"):
        read_json(tmp_path.parents[-1] / "dev" / "zero")


def safetensors(header, content=b"", length=None):
    """A file with this header, bytes or a dictionary."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + content


def entry(shape, start=0, stop=0, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def state(text):
    return safetensors({"__metadata__": {"batchmix": text}, "loss": entry([1], 0, 4)}, bytes(4))


CHECKPOINTS = {
    "a header of 2^40": lambda: safetensors({}, length=2**40),
    "a header of 2^64 - 1": lambda: safetensors({}, length=2**64 - 1),
    "a header of zeros": lambda: safetensors(bytes(30 * MB)),
    "a negative shape": lambda: safetensors({"a": entry([-1], 0, 4)}, bytes(4)),
    "a shape of 2^64": lambda: safetensors({"a": entry([2**64], 0, 4)}, bytes(4)),
    "overlapping": lambda: safetensors(
        {"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)
    ),
    "a hole": lambda: safetensors({"a": entry([1], 4, 8)}, bytes(8)),
    "twice": lambda: safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry([])).encode(),) * 2)),
    "deep": lambda: state("[" * 200_000),
    "NaN": lambda: state('{"format": 1, "epoch": NaN}'),
    "huge integers": lambda: state("9" * 10**6),
    "a list of lists": lambda: state("[" + "[]," * 10**6 + "[]]"),
    "an object of objects": lambda: state(
        "{" + ",".join(f'"{i}":{{}}' for i in range(300_000)) + "}"
    ),
    "many tensors": lambda: safetensors({str(i): entry([0]) for i in range(50_000)}),
}  # fmt: skip


def test_no_checkpoint_takes_more_than_a_multiple_of_its_size(tmp_path):
    """Memory is at most 64 MB, and 40 bytes for each byte of the header."""
    paths = []
    for i, make in enumerate(CHECKPOINTS.values()):
        paths.append(tmp_path / str(i) / "checkpoint.safetensors")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(make())
    answers = read("read_state(Path(path))", paths, setup=STATE, limit=4 * 2**30)
    for name, path, (said, grown) in zip(CHECKPOINTS, paths, answers):
        assert "checkpoint.safetensors is not a checkpoint of this run" in said, name
        assert said.startswith(f"--out {path.parent}: "), name
        assert len(said) < 1000, name
        assert grown < 64 * MB + 40 * path.stat().st_size, f"{name}: {grown / MB:.0f} MB"


@pytest.fixture
def folder(tmp_path):
    """A model that was saved."""
    training = Training("mlp", epochs=3, batch_size=8, lr=0.1, image_size=2)
    save_model(
        tmp_path / "m", build("mlp", (1, 2, 2), 2, 0), training=training,
        task=Task("classes", ("a", "b")), form="image", shape=(2, 2, 1), mean=(0.5,), std=(0.2,),
    )  # fmt: skip
    return tmp_path / "m"


def test_the_name_of_a_large_model_takes_no_memory(folder, monkeypatch):
    """One of timm's with four thousand million weights, in a folder of 10 kB."""
    config = json.loads((folder / CONFIG).read_text())
    name = "eva02_enormous_patch14_clip_224"
    config["batchmix"]["training"] |= {"model": f"timm:{name}", "image_size": 224}
    config |= {"architecture": name}
    config["pretrained_cfg"]["input_size"] = [1, 224, 224]
    (folder / CONFIG).write_text(json.dumps(config))
    built = []

    def without_memory(*args):
        assert torch.empty(1).is_meta
        built.append(args[0])
        return build("convnet", *args[1:])  # as quick

    monkeypatch.setattr(export, "build", without_memory)
    with pytest.raises(MixError, match="it lacks the tensor") as refused:
        load_model(folder)
    assert str(folder / WEIGHTS) in str(refused.value)
    assert built == [f"timm:{name}"]


CONFIGS = {
    "lists": lambda: b"[" + b"[]," * (2 * 10**6) + b"[]]",
    "objects": lambda: b"[" + b"{}," * 10**6 + b"{}]",
    "zeros": lambda: bytes(64 * MB),
    "twice": lambda: b'{"architecture": "mlp", "architecture": "mlp"}',
}


def test_no_config_takes_more_than_a_multiple_of_what_may_be_read(tmp_path):
    """At most 40 bytes for each byte, of 16 MiB at most."""
    folders = []
    for i, make in enumerate(CONFIGS.values()):
        folders.append(tmp_path / str(i))
        folders[-1].mkdir()
        (folders[-1] / CONFIG).write_bytes(make())
    answers = read("read_config(Path(path))", folders, setup=CONFIGURED)
    for name, folder, (said, grown) in zip(CONFIGS, folders, answers):
        assert said.startswith(f"MODEL {str(folder / CONFIG)!r}: "), name
        size = min((folder / CONFIG).stat().st_size, 16 * MB)
        assert grown < 64 * MB + 40 * size, f"{name}: {grown / MB:.0f} MB"


def test_a_result_that_is_none_is_made_again(tmp_path):
    from batchmix.cli.lab.run.state import result_of

    good = {"last": {"epoch": 1, "accuracy": 0.5}, "best": {"epoch": 0, "accuracy": 1}}
    good["rows"] = {"train": 600, "held_out": 400, "test": 797}
    (tmp_path / "result.json").write_text(json.dumps(good))
    assert result_of(tmp_path) == good
    wrong = [{"last": 5, "best": 5}, good | {"best": {}}, good | {"last": {"epoch": 1}}]
    wrong += [good | {"rows": 3}, good | {"rows": {"train": 600}}]
    wrong.append(good | {"best": {"epoch": 0, "accuracy": "high"}})
    texts = [json.dumps(one).encode() for one in wrong]
    for content in (b"", b"[1]", b"[" * 200_000, b'{"last": NaN, "best": {}}', *texts):
        (tmp_path / "result.json").write_bytes(content)
        assert result_of(tmp_path) is None
