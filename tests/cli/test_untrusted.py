"""JSON and safetensors that anybody may have written: bounded memory, one line, nothing silent."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix._errors import MixError
from batchmix.cli._json import parse_json, read_json
from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.loading import cache
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.run.logs import open_logs
from batchmix.cli.lab.run.state import RunState, read_state, result_of
from batchmix.cli.lab.saved import export
from batchmix.cli.lab.saved.config import CONFIG, WEIGHTS
from batchmix.cli.lab.saved.export import load_model, save_model
from batchmix.cli.lab.search.candidates import Search
from batchmix.cli.lab.search.ray_tune import _check_same
from batchmix.cli.lab.search.space import space
from batchmix.cli.lab.search.study import open_study
from batchmix.cli.lab.training import Training
from batchmix.cli.lab.trials.store import Store
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
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="larger than 16 MiB"):
        read_json(tmp_path / "large")


def kept_search(path):
    open_study(path, Search(space("mixup", 3), (0,), 0.0, True, 3, 1), {})


READERS = {
    "JSON": ("any", read_json),
    "a model": ("model.safetensors", lambda path: load_model(path.parent)),
    "a config": ("config.json", lambda path: load_model(path.parent)),
    "a checkpoint": ("checkpoint.safetensors", read_state),
    "trials": ("trials.jsonl", lambda path: Store(path.parent, {})),
    "a search": ("search.db", kept_search),
    "its journal": ("search.db-journal", lambda path: kept_search(path.with_name("search.db"))),
    "a search on Ray": ("ray-tune.json", lambda path: _check_same(path, {})),
    "a plan": ("plan.npz", bm.Plan.load),
    "a call": ("case.npz", lambda path: bm.audit(print, replay=path)),
}  # fmt: skip


@pytest.mark.parametrize("special", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
@pytest.mark.parametrize("what", READERS)
def test_what_is_no_regular_file_is_not_opened(tmp_path, folder, what, special):
    """A pipe that nobody writes into would be waited for."""
    name, reader = READERS[what]
    for file in folder.iterdir():
        file.rename(tmp_path / file.name)
    (tmp_path / name).unlink(missing_ok=True)
    special(tmp_path / name)
    with pytest.raises((MixError, OSError), match="it is not a regular file") as refused:
        reader(tmp_path / name)
    assert str(tmp_path / name.removesuffix("-journal")) in str(refused.value)


def test_a_result_or_decoded_rows_that_are_a_pipe_are_made_again(tmp_path):
    os.mkfifo(tmp_path / "result.json")
    assert result_of(tmp_path, RunState({}, {})) is None
    os.mkfifo(tmp_path / "rows.npy")
    assert not cache._fits(tmp_path / "rows.npy", (1,), np.dtype("u1"))
    os.mkfifo(tmp_path / "log.csv")
    open_logs(["csv"], tmp_path, {}, start=1).close()
    assert (tmp_path / "log.csv").is_file()


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
    best = {"epoch": 0, "rank": [1, 1]}
    state = RunState({"epochs": 2}, {"fingerprint": "x"}, epoch=2, best=best, finished=True)
    good = {"last": {"epoch": 1, "accuracy": 0.5}, "best": {"epoch": 0, "accuracy": 1}}
    good["rows"] = {"train": 600, "held_out": 400, "test": 797}
    good |= {"config": {"epochs": 2}, "fingerprint": "x"}
    (tmp_path / "result.json").write_text(json.dumps(good))
    assert result_of(tmp_path, state) == good
    wrong = [
        {"last": 5, "best": 5},
        good | {"best": {}},
        good | {"last": {"epoch": 1}},
    ]
    wrong += [good | {"rows": 3}, good | {"rows": {"train": 600}}]
    wrong.append(good | {"best": {"epoch": 0, "accuracy": "high"}})
    wrong += [good | {"config": {"epochs": 3}}, good | {"fingerprint": "y"}]
    wrong += [good | {part: {"epoch": 3, "accuracy": 1}} for part in ("best", "last")]
    texts = [json.dumps(one).encode() for one in wrong]
    for content in (b"", b"[1]", b"[" * 200_000, b'{"last": NaN, "best": {}}', *texts):
        (tmp_path / "result.json").write_bytes(content)
        assert result_of(tmp_path, state) is None
