"""From trials that are over to the report of a comparison."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from batchmix.cli._prepare import Prepared
from batchmix.cli._tally import Tally, named
from batchmix.cli._words import parse
from batchmix.cli.show.report import Report


def report_of(
    tally: Tally, prepared: Prepared, command: str, *, on: str = "local", picture: bool = True
) -> Report:
    """The report of the trials that are there; `picture`: with the first mixed batch."""
    from batchmix.cli.lab.split import split

    data, training, limit_train = prepared
    config: dict[str, Any] = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "arms": list(dict.fromkeys(trial.arm for trial in tally.trials)),
        "label_noise": sorted({trial.noise for trial in tally.trials}),
        "seeds": sorted({trial.seed for trial in tally.trials}),
        "limit_train": limit_train,
        "training": asdict(training),
        "on": on,
        "skipped": [list(each) for each in data.skipped],
        "failed": {named(trial): why for trial, why in tally.failed.items()},
    }
    if data.task.kind == "classes":
        test = split(data, 0, limit_train).test
        config["class_counts"] = np.bincount(test.y, minlength=data.task.outputs).tolist()
    batch = first_mixed(prepared, config["arms"]) if picture and tally.outcomes else None
    return Report(config, data.task, tally.kept, len(tally.trials), command, batch)


def first_mixed(prepared: Prepared, arms: list[str]) -> bytes | None:
    """A picture of the first batch of seed 0 by the first arm that mixes; None without one."""
    from batchmix.cli.lab.engine.loop import mixer_of
    from batchmix.cli.lab.loading.feed import Feed
    from batchmix.cli.lab.split import split
    from batchmix.cli.show.batch import first_batch

    data, training, limit_train = prepared
    entry = next((one for arm in arms for one in parse(arm) if one.kind == "mix"), None)
    if entry is None or data.form == "table":
        return None
    here = replace(training, seed=0, mix_on="workers", workers=0)
    train = split(data, 0, limit_train).train
    mixer = mixer_of(entry, data.form, data.task, here, 0)
    batch = next(iter(Feed(train, data.form, here, train=True, mixer=mixer).epoch(0)))
    return first_batch(batch.x.numpy(), batch.y.numpy(), data.task, data.form)
