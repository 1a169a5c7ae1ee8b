"""Lines: a layout, axes, sizes. A batch of that layout is mixed, or there is a refusal."""

import numpy as np

import batchmix as bm
from fuzz.refusals import refused


def seeds():
    lines = [
        "NCHW\nHW\n3 4",
        "NHWC\nHW\n3 4",
        "NT\nT\n9",
        "NC\n\n",
        "NTHWC\nTHW\n2 3 4",
        "HWN\n\n7",
    ]
    return [line.encode() for line in lines]


def one(data):
    layout, axes, sizes, *_ = (data.decode("utf-8", "surrogateescape") + "\n\n").split("\n")
    with refused():
        size = tuple(int(word[:4]) for word in sizes.split() if word[:4].isdecimal())
        plan = bm.Plan.identity(2, axes, size)
        cells = dict(zip(axes, size)) | {"N": 2}
        shape = [cells.get(letter, 3) for letter in layout[:20]]
        if np.prod(shape, dtype=object) < 10**6:
            x = np.zeros(shape, np.float32)
            assert bm.mix(x, plan, layout).shape == x.shape
            assert bm.Mixer(None, {0: bm.fields.Image(layout)}, seed=0)((x,))[0].shape == x.shape
    with refused("Plan"):
        bm.Plan([0], [], [1], axes, size)
