"""CSVs of targets, beside a folder of a few files."""

from batchmix.cli.lab.data.targets import read_targets
from fuzz.refusals import FOLDER, refused

FILES = ("a.png", "b.png", "c.wav", "d/e.png")


def seeds():
    lines = [
        "file,label\na.png,x\nb.png,y\n", "file,label,split\na.png,x,train\nb.png,y,test\n",
        "file,label\na.png,x|y\nb.png,\n", "file,h,w\na.png,0.5,1\nb.png,-2,1e3\n",
        'file,label\n"a.png",0.5\nd/e.png,1\n', "\ufefffile,label\nc.wav,1\n",
    ]  # fmt: skip
    return [line.encode() for line in lines]


def one(data):
    root = FOLDER / "rows"
    if not root.exists():
        for name in FILES:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
    path = FOLDER / "targets.csv"
    path.write_bytes(data)
    with refused("targets.csv"):
        table = read_targets(str(root), path)
        rows = sum(len(part.names) for part in table.parts.values())
        assert rows == sum(len(part.y) for part in table.parts.values()) > 0
