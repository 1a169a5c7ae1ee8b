"""Two workers of Ray Train, one of which fails: the batches are those of a run that did not stop.

python examples/ray_train.py               needs batchmix, ray[train], pydantic, torch, scikit-learn
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import ray.train.torch
import torch
from ray.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DistributedSampler

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.losses import soft_cross_entropy
from batchmix.policies import CutMix, MixUp, Switch

TRAIN, EPOCHS, SAVED_EVERY = 1400, 6, 32  # rows, passes, batches


def digits(part):
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return list(zip(images[part], labels[part]))


def loader(**where):
    """Of this process, or of the one that is named: its own rows, its own mixes."""
    rows = digits(slice(TRAIN))
    fields = {0: Image("NCHW"), 1: Labels(10)}
    mixer = bm.Mixer(Switch([MixUp(0.2), CutMix(1.0)]), fields, seed=0)
    return MixLoader(rows, mixer, batch_size=50, sampler=DistributedSampler(rows, **where))


def digest(targets):
    return f"{targets.double().square().sum().item():.9f}\n"


def train(config):
    """What each worker runs; Ray starts it anew after a failure, from the last checkpoint."""
    torch.manual_seed(0)
    rank = ray.train.get_context().get_world_rank()
    batches = loader()  # asks torch.distributed, which Ray has set up
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net = ray.train.torch.prepare_model(net)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    before = ray.train.get_checkpoint()
    if before:
        with before.as_directory() as folder:
            state = torch.load(f"{folder}/state.pt")
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        batches.load_state_dict(state["loader"])
    for epoch in range(batches.state_dict()["epoch"], EPOCHS):
        batches.set_epoch(epoch)  # keeps the place in an epoch that was resumed
        for images, targets in batches:
            optimizer.zero_grad()
            soft_cross_entropy(net(images), targets).backward()
            optimizer.step()
            at = batches.state_dict()  # of the batch to come
            done = at["epoch"] * len(batches) + at["step"]
            with Path(config["folder"], f"rank-{rank}").open("a") as log:
                log.write(f"{done} {digest(targets)}")
            if done % SAVED_EVERY == 0 or done == EPOCHS * len(batches):
                save(net, optimizer, batches, rank)
            if not before and rank == 1 and done == SAVED_EVERY + 3:
                raise RuntimeError("a machine is gone")


def save(net, optimizer, batches, rank):
    parts = {"net": net, "optimizer": optimizer, "loader": batches}
    with tempfile.TemporaryDirectory() as folder:
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save(state, f"{folder}/state.pt")
        saved = Checkpoint.from_directory(folder) if rank == 0 else None
        ray.train.report({}, checkpoint=saved)


def main(folder):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    trainer = ray.train.torch.TorchTrainer(
        train,
        train_loop_config={"folder": folder},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=1)),
    )
    checkpoint = trainer.fit().checkpoint
    logs = [Path(folder, f"rank-{rank}").read_text().splitlines(True) for rank in (0, 1)]
    for rank, log in enumerate(logs):
        alone, whole = loader(num_replicas=2, rank=rank), []
        for epoch in range(EPOCHS):
            alone.set_epoch(epoch)
            whole += [digest(targets) for _, targets in alone]
        expected = {f"{done} {text}" for done, text in enumerate(whole, 1)}
        same = set(log) == expected and len(log) > len(expected)  # some were trained on twice
        print(f"worker {rank}, stopped and resumed:", "as if it had not" if same else "DIFFERENT")
    print("the two draw:", "different mixes" if not set(logs[0]) & set(logs[1]) else "THE SAME")

    with checkpoint.as_directory() as last:
        weights = torch.load(f"{last}/state.pt")["net"]
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    net.load_state_dict({name.removeprefix("module."): w for name, w in weights.items()})
    images, labels = map(np.array, zip(*digits(slice(TRAIN, None))))
    right = net(torch.from_numpy(images)).argmax(1).numpy() == labels
    print(f"test accuracy: {right.mean():.3f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
