"""Coverage-guided fuzzing of everything that reads text or files: `make fuzz SECONDS=60`.

    python tests/fuzz/run.py --seconds 60 plans sounds

A target is a module beside this one: `one(data)` reads bytes as the program would, and lets
nothing but a MixError pass, which it checks; `seeds()` are inputs to begin with. An input that ends
otherwise is written to build/fuzz/TARGET-*; kept in finds/ under a name that begins with that of
its target, it is a test from then on (test_finds.py).
"""

import argparse
import hashlib
import importlib
import os
import pathlib
import re
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).parent
WORK = HERE.parents[1] / "build" / "fuzz"
TARGETS = (
    "policies", "layouts", "plans", "checkpoints", "models", "sounds", "targets", "commands",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="For each target.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        fuzz(options.targets[0], options.seconds)
    WORK.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        held = [*pool.map(lambda name: holds(name, options.seconds), options.targets)]
    raise SystemExit(not all(held))


def holds(name, seconds):
    """Fuzz one target in a process of its own; whether nothing was found."""
    for old in WORK.glob(f"{name}-*"):
        old.unlink()
    command = [sys.executable, __file__, "--inside", f"--seconds={seconds}", name]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace")
    found = sorted(WORK.glob(f"{name}-*"))
    if run.returncode or found:
        print(run.stdout, run.stderr, sep="\n")
    count = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    print(
        f"{name}: {seconds} s, {count[1] if count else 'no'} inputs, exit code {run.returncode}, "
        f"{len(found)} found {[*map(str, found)] or ''}", flush=True,
    )  # fmt: skip
    return not run.returncode and not found


def fuzz(name, seconds):
    """Never returns: the fuzzer ends the process."""
    import atheris

    sys.path.insert(0, str(HERE.parent))
    with atheris.instrument_imports(include=["batchmix", "zipfile", "json", "csv", "numpy.lib"]):
        target = importlib.import_module(f"fuzz.{name}")
    corpus = WORK / name
    corpus.mkdir(parents=True, exist_ok=True)
    inputs = [*target.seeds(), *(path.read_bytes() for path in HERE.glob(f"finds/{name}-*"))]
    for data in inputs:
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
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
                print(f"\n{path}\n{''.join(traceback.format_exception(error))[-3000:]}", flush=True)

    longest = max(2 * max(map(len, inputs)), 4096)
    atheris.Setup(
        [
            sys.argv[0], str(corpus), f"-max_total_time={seconds}", f"-max_len={longest}",
            f"-artifact_prefix={WORK}/{name}-", "-timeout=60", "-report_slow_units=30",
            "-rss_limit_mb=4096", "-print_final_stats=1", "-verbosity=0", "-use_value_profile=1",
        ],
        one,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
