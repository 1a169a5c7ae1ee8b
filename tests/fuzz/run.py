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
import pathlib
import subprocess
import sys
import traceback
import warnings

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
    failed = False
    for name in options.targets:
        for old in WORK.glob(f"{name}-*"):
            old.unlink()
        print(f"{name}: {options.seconds} s", flush=True)
        command = [sys.executable, __file__, "--inside", f"--seconds={options.seconds}", name]
        code = subprocess.run(command).returncode
        found = sorted(WORK.glob(f"{name}-*"))
        failed = failed or code != 0 or bool(found)
        print(f"{name}: exit code {code}, {len(found)} found {[*map(str, found)] or ''}")
    raise SystemExit(failed)


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
