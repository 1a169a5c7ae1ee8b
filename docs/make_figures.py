"""Makes the figures of the documentation: python docs/make_figures.py

No network and no choice: the rows are scikit-learn's digits, by seed. compare.png is drawn from the
report.json of `batchmix compare` that is kept as benchmarks/evidence/digits.json;
make_explore_figure.py makes those of the page.
"""

from __future__ import annotations

import json
from pathlib import Path

import batchmix as bm
from batchmix.cli._mixing import Mixing
from batchmix.cli._output import write
from batchmix.cli._words import parse
from batchmix.cli.show import figure, pictures
from batchmix.cli.show.record import of_json
from batchmix.cli.show.shown import Shown, choose, open_source
from batchmix.policies import CutMix, MixUp, PerBatch, PerPair, Policy, Schedule, Sometimes, Switch

HERE = Path(__file__).parent / "figures"
COMPARED = HERE.parents[1] / "benchmarks" / "evidence" / "digits.json"
BATCH = choose(open_source("digits"), 8, Mixing())
BOTH = Switch([MixUp(0.8), CutMix(1.0)])


def shown(
    name: str,
    policy: Policy,
    key: bm.Key = bm.Key(0),  # noqa: B008  an immutable value
    pairing: bm.pairing.Pairing = bm.pairing.Derangement(),  # noqa: B008  an immutable value
) -> Shown:
    """A policy on the rows of every figure."""
    plan = bm.draw(policy, key, len(BATCH), {"H": 8, "W": 8}, pairing=pairing)
    return BATCH.apply(name, plan)


def figures() -> dict[str, bytes]:
    """Every figure by its name."""
    entries = parse("none smooth:0.1 mixup:1 cutmix:1")
    off = Schedule.off_after(BOTH, epoch=90)
    mutual = bm.pairing.Reverse()
    return {
        "mixup.png": pictures.rows("MixUp(1.0)", [shown("MixUp", MixUp(1.0))]),
        "cutmix.png": pictures.rows("CutMix(1.0)", [shown("CutMix", CutMix(1.0))]),
        "switch-rows.png": pictures.rows(
            "Switch([MixUp(0.8), CutMix(1.0)])", [shown("Switch", BOTH)]
        ),
        "sometimes.png": pictures.rows(
            "Sometimes(CutMix(1.0), prob=0.5)", [shown("Sometimes", Sometimes(CutMix(1.0), 0.5))]
        ),
        "sharing.png": pictures.rows(
            "The same rows and partners: one draw per row, per pair, per batch",
            [
                shown("per row", CutMix(1.0), pairing=mutual),
                shown("PerPair", PerPair(CutMix(1.0)), pairing=mutual),
                shown("PerBatch", PerBatch(CutMix(1.0)), pairing=mutual),
            ],
        ),
        "schedule.png": pictures.rows(
            "Schedule.off_after(policy, epoch=90)",
            [shown(f"epoch {n}", off, bm.Key(0, epoch=n)) for n in (89, 90)],
        ),
        "mixup-alpha.png": pictures.alphas("MixUp(alpha)", BATCH, parse("mixup:1")),
        "cutmix-alpha.png": pictures.alphas("CutMix(alpha)", BATCH, parse("cutmix:1")),
        "labels.png": pictures.labels("Soft labels of the digits", BATCH, entries),
    }


def compared() -> bytes:
    """What the comparison found, as it is kept."""
    return figure.figure(of_json(json.loads(COMPARED.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    made = figures() | ({"compare.png": compared()} if COMPARED.exists() else {})
    for name, content in made.items():
        write(HERE / name, content)
        print(HERE / name)
