"""Two ways to resume in the middle of an epoch with rows and mixes to come, as torchdata does.

python examples/torchdata_resume.py      needs batchmix, torch, torchdata
"""

import io
import warnings

import torch
from torch.utils.data import TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import batchmix as bm
from batchmix.adapters.torch import MixLoader
from batchmix.fields import Image, Labels
from batchmix.policies import CutMix, MixUp, Switch

# torchdata 0.11 calls what newer PyTorch has deprecated
warnings.filterwarnings("ignore", "'set_vital' is deprecated")
ROWS = TensorDataset(torch.rand(96, 3, 8, 8), torch.arange(96) % 10)


def mixer():
    return bm.Mixer(Switch([MixUp(0.4), CutMix(1.0)]), {0: Image("NCHW"), 1: Labels(10)}, seed=0)


class InPlace:
    """MixLoader instead of a StatefulDataLoader: mixed in the workers, five integers of state."""

    def __init__(self):
        self.batches = MixLoader(ROWS, mixer(), batch_size=8, shuffle=True, num_workers=2)
        self.parts = {"loader": self.batches}


class Beside:
    """A StatefulDataLoader as it is, of any data set; its batches are mixed by a Mixer."""

    def __init__(self):
        loader, mix = StatefulDataLoader(ROWS, 8, shuffle=True, num_workers=2), mixer()
        self.parts = {"loader": loader, "mixer": mix}

    @property
    def batches(self):
        return map(self.parts["mixer"], self.parts["loader"])


def saved(run):
    """A checkpoint, as bytes."""
    file = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in run.parts.items()}, file)
    return file.getvalue()


def loaded(run, checkpoint):
    for name, state in torch.load(io.BytesIO(checkpoint), weights_only=False).items():
        run.parts[name].load_state_dict(state)
    return run


def main():
    for kind in (InPlace, Beside):
        run = kind()
        passing = iter(run.batches)
        for _ in range(5):
            next(passing)
        checkpoint = saved(run)
        expected = list(passing)
        found = list(loaded(kind(), checkpoint).batches)
        pairs = zip(found, expected, strict=True)
        same = all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b))
        print(
            f"{kind.__name__}: {len(found)} batches,", "as if it had not stopped" if same else "NO"
        )


if __name__ == "__main__":
    main()
