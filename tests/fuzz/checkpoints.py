"""Checkpoints. After a first byte "S" the rest is the state in the header, else the whole file."""

import json
import struct

import numpy as np
import torch

from batchmix._errors import MixError
from batchmix.cli._words import Entry
from batchmix.cli.lab.engine import loop
from batchmix.cli.lab.engine.evaluation import Best
from batchmix.cli.lab.engine.fabric import open_fabric
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.run import checkpoint
from batchmix.cli.lab.run.state import RunState
from batchmix.cli.lab.training import Training
from fuzz.refusals import FOLDER, refused

PATH = FOLDER / "checkpoint.safetensors"


def _run():
    fabric = open_fabric(accelerator="cpu", devices=1)
    scale = loop.Scale([0.5], [0.2], torch.zeros(2), torch.ones(2))
    training = Training("mlp", epochs=3, batch_size=2, lr=0.1)
    task = Task("classes", ("a", "b"))
    run = loop.set_up(fabric, training, Entry("none"), task, "image", (1, 2, 2), scale)
    model = run.model(torch.ones(2, 1, 2, 2))
    fabric.backward(model.sum())
    run.optimizer.step()
    return run


RUN = _run()


def _written(epoch):
    best = Best(0, (0.5, -1.0), dict(RUN.module.state_dict())) if epoch else None
    history = [
        {"epoch": i, "step": i, "lr": 0.1, "held_out": 0.5, "loss": 1.0} for i in range(epoch)
    ]
    config = {"epochs": 3, "model": "mlp", "lr": 0.1}
    state = RunState(config, {"names": ["a"]}, epoch, 0 if epoch else 1, history)
    state.finished = epoch == 3
    checkpoint.save_run(PATH, RUN, torch.zeros(1), best, state)
    return PATH.read_bytes()


def _parts(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


HEADER, TENSORS = _parts(_written(1))


def seeds():
    whole = [_written(epoch) for epoch in (0, 1, 3)]
    states = [_parts(content)[0]["__metadata__"]["batchmix"].encode() for content in whole]
    return [b"F" + content for content in whole] + [b"S" + state for state in states]


def one(data):
    content = data[1:]
    if data[:1] == b"S":
        state = content.decode("utf-8", "replace")
        head = json.dumps(HEADER | {"__metadata__": {"batchmix": state}}).encode()
        content = struct.pack("<Q", len(head)) + head + TENSORS
    PATH.write_bytes(content)
    before = {name: value.clone() for name, value in RUN.module.state_dict().items()}
    try:
        with refused(PATH.name):
            state, best, totals = checkpoint.load_run(PATH, RUN)
            again = PATH.with_name("again.safetensors")
            checkpoint.save_run(again, RUN, totals, best, state)
            checkpoint.load_run(again, RUN)
    except MixError:
        raise AssertionError("what is refused has a name") from None
    for name, value in RUN.module.state_dict().items():
        assert value.dtype == before[name].dtype
        assert np.shape(value) == np.shape(before[name])
