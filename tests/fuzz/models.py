"""Model folders. After a first byte "C" the rest is config.json, else it is model.safetensors."""

from batchmix.cli.lab.engine.models import build
from batchmix.cli.lab.rows import Task
from batchmix.cli.lab.saved.export import load_model, save_model
from batchmix.cli.lab.training import Training
from fuzz.refusals import FOLDER, refused

FILES = {b"C": "config.json", b"W": "model.safetensors"}


def _saved(folder, name="mlp", kind="classes"):
    training = Training(name, epochs=1, batch_size=2, lr=0.1, image_size=2)
    model = build(name, (1, 2, 2), 2, 0)
    save_model(
        folder, model, training=training, task=Task(kind, ("a", "b")), form="image",
        shape=(2, 2, 1), mean=(0.5,), std=(0.2,), temperature=1.5,
    )  # fmt: skip
    return {first: (folder / name).read_bytes() for first, name in FILES.items()}


GOOD = _saved(FOLDER / "model")


def seeds():
    more = [_saved(FOLDER / "seed", name) for name in ("mlp", "convnet", "resnet20")]
    more.append(_saved(FOLDER / "seed", kind="numbers"))
    return [first + content for files in more for first, content in files.items()]


def one(data):
    first = b"C" if data[:1] == b"C" else b"W"
    for key, name in FILES.items():
        (FOLDER / "model" / name).write_bytes(data[1:] if key == first else GOOD[key])
    with refused("MODEL"):
        model, saved = load_model(FOLDER / "model")
        assert saved.shape == (1, 2, 2)
        assert sum(value.numel() for value in model.state_dict().values()) < 10**6
