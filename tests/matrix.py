"""Runs the core tests on the oldest and newest versions that can be installed; writes the table.

    python tests/matrix.py                  what has no row in docs/supported-versions.json yet
    python tests/matrix.py --again          everything anew
    python tests/matrix.py '3.12 jax' 3.13  only rows with the words of one of these in their names
    python tests/matrix.py --page           only docs/supported-versions.md
    python tests/matrix.py --at PYTHON jax  a row for an interpreter that has all it needs
    python tests/matrix.py --cuda-builds    PyTorch as the index has it, with gigabytes of CUDA

The package is that of the sdist, built and tested outside the source tree. Each environment is made
by uv from the bounds of pyproject.toml, and removed. Without --cuda-builds PyTorch is a CPU build.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build/matrix"
SOURCE = WORK / "sdist/source"
ROWS, PAGE = ROOT / "docs/supported-versions.json", ROOT / "docs/supported-versions.md"
UV = Path(sys.executable).with_name("uv")
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
CASES = {
    "oldest": ("--resolution=lowest-direct", "--torch-backend=cpu"),
    "newest": ("--resolution=highest", "--torch-backend=cpu"),
    "pinned": ("--resolution=lowest-direct", "--constraint=constraints-cpu.txt"),
    "oldest-cuda": ("--resolution=lowest-direct",),
    "newest-cuda": ("--resolution=highest",),
    "checked": ("--resolution=highest", "--constraint=constraints-cpu.txt"),
}
EXTRAS = {
    "numpy": (),
    "torch": ("torch",),
    "jax": ("jax",),
    "tensorflow": ("tensorflow", "keras"),
    "types": ("torch", "jax"),
}
# PyTorch is pinned, and checked with, on the Python of its wheel
SPECIAL = {("torch", "pinned"), ("types", "checked")}
CHECKERS = ("mypy", "pyright")
TOOLS = ("pytest", "hypothesis", "scipy", "ml-dtypes", "setuptools")
SHOWN = ("numpy", "torch", "jax", "tensorflow", "tensorflow-cpu", "keras", *CHECKERS)
CONTRACT = "mix labels label_rules targets padding losses_metrics stack mixer inplace boxes"
TESTS = {
    "numpy": f"plan policies kernel equality {CONTRACT}",
    "torch": f"plan policies kernel equality torch {CONTRACT}",
    # equality compiles hundreds of programs: `make test` has it
    "jax": CONTRACT,
    "tensorflow": CONTRACT,
    "types": "typed_program",
}
MORE = {
    "jax": ["tests/jax/test_draw.py", "tests/jax/test_sharding.py", "src/batchmix/adapters/jax.py"],
    "tensorflow": ["tests/hosts/test_tensorflow.py", "tests/hosts/test_keras.py"],
}
# of uv, by what its message says; whatever else stops an installation stops this script
REASONS = {
    "No interpreter found": "no such interpreter here",
    "No solution found": "no built wheel for this Python",
    "download.pytorch.org": "the index of CPU builds cannot be reached from here",
}
QUIET = {
    "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow",
    "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never",
}  # fmt: skip


class NotInstalled(Exception):
    """One of `REASONS`."""


def uv(*words):
    """What uv prints."""
    env = os.environ | QUIET | {"UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    done = subprocess.run([UV, *words], cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        for said, reason in REASONS.items():
            if said in done.stderr:
                raise NotInstalled(reason)
        raise SystemExit(f"uv {' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def unpacked():
    """The sdist of now, unpacked: where the tests run."""
    shutil.rmtree(WORK / "sdist", ignore_errors=True)
    uv("build", "--sdist", "--out-dir", WORK / "sdist")
    shutil.unpack_archive(next((WORK / "sdist").glob("*.tar.gz")), WORK / "sdist")
    next((WORK / "sdist").glob("batchmix-*/")).rename(SOURCE)


def wheel(python):
    """A wheel of the sdist: one for all interpreters with a GIL, else one of its own."""
    digest = hashlib.sha256((SOURCE / "setup.py").read_bytes())
    for path in sorted([*SOURCE.rglob("native/*"), *SOURCE.rglob("src/**/*.py")]):
        digest.update(path.read_bytes())
    folder = WORK / f"wheel{python[4:] if python[-1] == 't' else ''}-{digest.hexdigest()[:12]}"
    if not folder.exists():
        uv("build", "--wheel", "--python", python, "--out-dir", folder, SOURCE)
    return next(folder.glob("*.whl"))


def requirements(framework):
    """The bounds of pyproject.toml; TensorFlow without CUDA."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = [*project["dependencies"], *(b for e in EXTRAS[framework] for b in extras[e])]
    return [re.sub("^tensorflow", "tensorflow-cpu", bound) for bound in bounds]


def install(python, framework, case):
    """An environment; returns its interpreter."""
    env = WORK / "env"
    shutil.rmtree(env, ignore_errors=True)
    uv("venv", "--python", python, env)
    inside = env / "bin/python"
    pip = ("pip", "install", "--python", inside, "--only-binary=:all:")
    uv(*pip, *CASES[case], *requirements(framework))
    found = WORK / "found.txt"
    found.write_text(uv("pip", "freeze", "--python", inside))
    uv(*pip, "--constraint", found, *TOOLS, *(CHECKERS if framework == "types" else ()))
    uv(*pip, "--no-deps", wheel(python))
    return inside


def tested(python, framework, case):
    """What the core tests of one framework say under an interpreter, and what it has."""
    files = [f"tests/test_{name}.py" for name in TESTS[framework].split()]
    files += MORE.get(framework, [])
    # an old framework is warned of what newer Pythons will drop: that is not ours
    files += ["-W", "default::DeprecationWarning"] * (not case.startswith("newest"))
    probe = "import json, platform, importlib.metadata as m; print(json.dumps([platform.machine(), "
    probe += "platform.python_version(), {d.name.lower(): d.version for d in m.distributions()}]))"
    told = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=True)
    machine, version, has = json.loads(told.stdout)
    done = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rf", *files],
        cwd=SOURCE,
        env=os.environ | QUIET | {"BATCHMIX_TEST_BACKENDS": framework},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (WORK / f"{version} {machine} {framework} {case}.log").write_text(done.stdout)
    counts = dict(reversed(pair.split()) for pair in re.findall(r"\d+ [a-z]+", done.stdout[-300:]))
    broken = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return {
        "versions": {name: has[name] for name in SHOWN if name in has},
        "result": "passed" if done.returncode == 0 else "failed",
        "tests": int(counts.get("passed", 0)),
        **({"broken": broken} if done.returncode else {}),
        "python": version,
        "machine": machine,
    }


def row(python, framework, case):
    """One combination: installed, tested, removed."""
    try:
        return tested(install(python, framework, case), framework, case)
    except NotInstalled as reason:
        return {"versions": {}, "result": f"not installed: {reason}"}
    finally:
        shutil.rmtree(WORK / "env", ignore_errors=True)


HEAD = """# Supported versions

Python {python}. The lower bounds are those of `pyproject.toml`:
{bounds}.

`make matrix` wrote this page. For each Python and framework it takes the oldest versions that the
bounds admit and the newest that can be installed ("pinned": the PyTorch of `constraints.txt`, with
the oldest NumPy), installs the package from its sdist, and runs the core tests outside the source
tree: plans, policies, pairings, mixing, labels, losses, the kernel. What is not installed is not
tested, and why is said. The command line is tested with the versions of `constraints.txt` only.
In brackets: how many tests there are. A "t" after the Python: the build without a global lock.

| Python | machine | framework | case | versions | core tests |
| --- | --- | --- | --- | --- | --- |
"""

FAILED = """
## What failed

What it means: [Compatibility](reliability.md#compatibility).

"""


def page(rows):
    """The table, from the rows alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [b for framework in EXTRAS for b in requirements(framework)]
    lines, failures = {}, []  # of lines one for all that is not there for one reason
    for name, one in rows.items():
        python, framework, case = name.split()
        has = ", ".join(" ".join(pair) for pair in one["versions"].items())
        if not has and "interpreter" in one["result"]:
            framework, case = "all", ""
        result, broken = one["result"], one.get("broken", [])
        if broken:
            result = f"{len(broken)} of {one['tests']} failed"
            failures += [f"- {name}: `{test}`\n" for test in broken]
        elif "tests" in one:
            result += f" ({one['tests']})"
        shown = one.get("python", python.rstrip("t")) + "t" * python.endswith("t")
        cells = shown, one.get("machine", ""), framework, case, has, result
        lines[f"| {' | '.join(cells)} |\n"] = None
    bounds = ", ".join(f"`{bound}`" for bound in dict.fromkeys(bounds))
    head = HEAD.format(python=project["requires-python"], bounds=bounds)
    PAGE.write_text("".join([head, *lines, *([FAILED, *failures] if failures else [])]))


def names(cuda):
    """All combinations, or those with CUDA builds."""
    for python in PYTHONS:
        for framework in ["torch"] if cuda else EXTRAS:
            for case in CASES:
                plain = framework != "types" and case in ("oldest", "newest")
                special = python == "3.11" and (framework, case) in SPECIAL
                if case.endswith("-cuda") if cuda else plain or special:
                    yield f"{python} {framework} {case}"


def main():
    """Rows are kept as soon as they are there: what was interrupted goes on where it was."""
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("rows", nargs="*", default=[""], help="words in the names of rows")
    parser.add_argument("--again", action="store_true", help="also what has a row")
    parser.add_argument("--page", action="store_true", help="write the page only")
    parser.add_argument("--cuda-builds", action="store_true", help="PyTorch with CUDA")
    parser.add_argument("--at", metavar="PYTHON", help="an interpreter that has all it needs")
    args = parser.parse_args()
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    WORK.mkdir(parents=True, exist_ok=True)
    known = list(names(args.cuda_builds))
    wanted = [n for said in args.rows for n in known if set(said.split()) <= set(n.split())]
    if not args.page:
        unpacked()
    if args.at:
        found = tested(args.at, args.rows[0], "installed")
        wanted = [f"{found['python']}-{found['machine']} {args.rows[0]} installed"]
    for name in [] if args.page else wanted:
        if name in rows and not (args.again or args.at):
            continue
        print(name, end=": ", flush=True)
        rows[name] = found if args.at else row(*name.split())
        print(rows[name]["result"], rows[name]["versions"])
        ROWS.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n")
    page(rows)


if __name__ == "__main__":
    main()
