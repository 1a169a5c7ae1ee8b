"""Policies as text: what is accepted can be drawn from."""

import numpy as np

import batchmix as bm
from batchmix.cli._words import _EXAMPLES, parse
from fuzz.refusals import refused


def seeds():
    words = [*_EXAMPLES.values(), "mixup:0.8,prob=0.5,off=90,smooth=0.1 none", "cutmix:1e-300"]
    return [word.encode() for word in words]


def one(data):
    text = data.decode("utf-8", "surrogateescape")
    entries = []
    with refused():
        entries = parse(text)
    for entry in entries:
        size, hints = {"H": 6, "W": 5}, {"image": np.eye(6, 5) * np.ones((4, 1, 1))}
        plan = bm.draw(entry.policy, bm.Key(0, 1, 2), 4, size, pairing=entry.pairing, hints=hints)
        assert ((plan.lam >= 0) & (plan.lam <= 1)).all()
