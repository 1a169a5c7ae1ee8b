"""Coverage-guided fuzzing of everything that reads text or files.

    python tests/fuzz/run.py --seconds 600 plans sounds    explores, on from the runs before
    python tests/fuzz/run.py --seed 1 plans                the same inputs each time, for CI
    python tests/fuzz/run.py --seed 1 --runs 5000 plans    as many of them as you say

A target is a module beside this one: `one(data)` reads bytes as the program would, and lets
nothing but a MixError pass, which it checks; `seeds()` are inputs to begin with. An input that ends
otherwise is written to build/fuzz/TARGET-*; kept in finds/ under a name that begins with that of
its target, it is a test from then on (test_finds.py).
"""

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "fuzz"
# target -> inputs that take 20 to 25 s where two targets run at a time, on two cores
TARGETS = {
    "policies": 150_000, "layouts": 80_000, "plans": 23_000, "checkpoints": 26_000,
    "models": 25_000, "sounds": 22_000, "targets": 50_000, "commands": 600,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=[*TARGETS], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="For each target, without --seed.")
    parser.add_argument("--seed", type=int, help="The same inputs each time, from this number.")
    parser.add_argument("--runs", type=int, help="Inputs of each target, with --seed.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := {*options.targets} - {*TARGETS}:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if options.runs is not None and options.seed is None:
        parser.error("--runs goes with --seed; without it, say --seconds")
    if options.inside:
        fuzz(options.targets[0], options)
    WORK.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        held = [*pool.map(lambda name: holds(name, options), options.targets)]
    raise SystemExit(not all(held))


def holds(name, options):
    """Fuzz one target in a process of its own; whether nothing was found."""
    for old in WORK.glob(f"{name}-*"):
        old.unlink()
    limit = [f"--seconds={options.seconds}"]
    if options.seed is not None:
        limit = [f"--seed={options.seed}", f"--runs={options.runs or TARGETS[name]}"]
    command = [sys.executable, __file__, "--inside", *limit, name]
    # the order of a set is part of what the fuzzer sees
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
    found = sorted(WORK.glob(f"{name}-*"))
    if run.returncode or found:
        print(run.stdout, run.stderr, sep="\n")
    count = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    print(
        f"{name}: {' '.join(limit)}, {count[1] if count else 'no'} inputs, "
        f"exit code {run.returncode}, {len(found)} found {[*map(str, found)] or ''}", flush=True,
    )  # fmt: skip
    return not run.returncode and not found


def written(inputs, folder):
    """The inputs as files; their paths in one order, whatever that of the folder is."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / hashlib.sha1(data).hexdigest() for data in inputs]
    for path, data in zip(paths, inputs):
        path.write_bytes(data)
    return paths


def fuzz(name, options):
    """Never returns: the fuzzer ends the process."""
    import atheris

    sys.path.insert(0, str(HERE.parent))
    with atheris.instrument_imports(include=["batchmix", "zipfile", "json", "csv", "numpy.lib"]):
        target = importlib.import_module(f"fuzz.{name}")
    finds = sorted(HERE.glob(f"finds/{name}-*"))
    inputs = [*target.seeds(), *(path.read_bytes() for path in finds)]
    if options.seed is None:
        corpus = WORK / name
        written(inputs, corpus)
        how = [str(corpus), f"-max_total_time={options.seconds}"]
    else:  # nothing of the runs before this one, and nothing by the clock
        given = ",".join(map(str, written(inputs, WORK / f"{name}.seeds")))
        how = [f"-seed_inputs={given}", f"-runs={options.runs}", f"-seed={options.seed}"]
    seen = set()
    warnings.simplefilter("error")

    def one(data):
        try:
            target.one(data)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            key = (type(error), *(f"{frame.filename}:{frame.lineno}" for frame in frames[-2:]))
            if key not in seen:
                seen.add(key)
                path = WORK / f"{name}-{hashlib.sha1(data).hexdigest()[:12]}"
                path.write_bytes(data)
                shown = "".join(traceback.format_exception(error))[-3000:]
                print(f"\n{path}: {error!r:.300}\n{shown}", flush=True)

    longest = max(2 * max(map(len, inputs)), 4096)
    atheris.Setup(
        [
            sys.argv[0], *how, f"-max_len={longest}",
            f"-artifact_prefix={WORK}/{name}-", "-timeout=60", "-report_slow_units=30",
            "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0", "-use_value_profile=1",
        ],
        one,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
