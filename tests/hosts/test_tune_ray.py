"""A search with Ray Tune: in processes of their own, as Ray keeps workers of this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SEARCH = """
import json, sys
from dataclasses import asdict, replace
from pathlib import Path

import standin
from batchmix import MixError
from batchmix.cli.lab.search.candidates import Search
from batchmix.cli.lab.search.ray_tune import search_on_ray
from batchmix.cli.lab.search.space import space
from batchmix.cli.lab.trials.store import Store, configuration

out, trials = Path(sys.argv[1]), int(sys.argv[2])
data, training = standin.data(), replace(standin.TRAINING, epochs=3)
search = Search(space("mixup cutmix", 3), (0, 1), 0.0, True, trials, 2)
try:
    found = search_on_ray(
        search, data, training, store=Store(out, configuration(data, training, None)),
        made_with={"seeds": 2}, work=standin.run_trial,
    )
    print(json.dumps([asdict(one) for one in found]))
except MixError as error:
    print(json.dumps(str(error)))
"""


def search(out, trials):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    words = [sys.executable, "-c", SEARCH, str(out), str(trials)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_candidates_are_tried_kept_and_found_again(tmp_path):
    found = search(tmp_path, 4)
    assert [one["arm"] for one in found[:3]] == ["none", "mixup:1", "cutmix:1"]
    assert len({one["arm"] for one in found}) == 5
    assert {one["state"] for one in found} <= {"finished", "pruned"}
    assert abs(found[1]["value"] - 0.605) < 1e-9  # the mean over two seeds
    kept = (tmp_path / "trials.jsonl").read_text()
    assert kept.count('"arm": "mixup:1"') == 2
    (tmp_path / "candidates.json").unlink()  # as if it had been broken off before the end
    assert search(tmp_path, 4) == found
    assert search(tmp_path, 4) == found
    assert "--trials is 5" in search(tmp_path, 5)
