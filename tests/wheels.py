"""Builds the sdist and wheels, and tries them outside the source tree: what a release would hold.

    python tests/wheels.py           the sdist; the wheel of this machine in an empty environment
    python tests/wheels.py TARGET    a wheel cross-built by zig: "aarch64-gnu", "x86_64-musl", ...

They are in build/wheels. A wheel without the kernel is an error.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build/wheels"
BIN = Path(sys.executable).parent
LIBC = {"gnu": ("gnu.2.28", "manylinux_2_28"), "musl": ("musl", "musllinux_1_2")}
WHEEL = ["batchmix/py.typed", "batchmix/backends/_kernel.abi3.so", "licenses/LICENSE"]
WHEEL += [f"photos/{name}" for name in ("CREDITS.md", "cat/cat-0.jpg", "temple/temple-3.jpg")]
SDIST = ["LICENSE", "setup.py", "native/kernel.cpp", "native/kernel.h", "tests/test_mix.py"]
TRY = """
import doctest, importlib, batchmix
from batchmix.backends._native import kernels
assert ROOT not in batchmix.__file__, batchmix.__file__
assert kernels()["host"] != "portable"
done = doctest.testmod(importlib.import_module("batchmix._mixer"))
assert done.attempted and not done.failed
"""


def run(*words, **more):
    """One command; that it fails is the end."""
    print("+", *words, flush=True)
    return subprocess.run([str(word) for word in words], check=True, **more)


def holds(names, wanted):
    """Every wanted file is in an archive."""
    missing = [name for name in wanted if not any(found.endswith(name) for found in names)]
    assert not missing, f"not in the archive: {missing}"


def here():
    """Build, look, install in an empty environment, import, a doctest, the command."""
    run(BIN / "uv", "build", "--out-dir", OUT, ROOT)
    (sdist,), (wheel,) = OUT.glob("*.tar.gz"), OUT.glob("*.whl")
    with tarfile.open(sdist) as archive:
        holds(archive.getnames(), SDIST)
    holds(zipfile.ZipFile(wheel).namelist(), WHEEL)
    run(BIN / "twine", "check", "--strict", sdist, wheel)
    run(BIN / "abi3audit", "--strict", wheel)
    run(BIN / "auditwheel", "show", wheel)
    env = OUT / "env"
    run(BIN / "uv", "venv", "--quiet", "--clear", env)
    run(BIN / "uv", "pip", "install", "--python", env / "bin/python", wheel)
    run(env / "bin/python", "-c", f"ROOT = {str(ROOT / 'src')!r}\n{TRY}", cwd="/")
    command = env / "bin/batchmix"  # without the extra: its version, and what is missing
    run(command, "--version")
    told = subprocess.run([command, "stats", "mixup:1"], capture_output=True, text=True)
    assert told.returncode == 2, told
    assert "pip install 'batchmix[cli]'" in told.stderr, told
    shutil.rmtree(env)


def across(target):
    """A wheel for another machine or C library, with the tag that its symbols allow."""
    machine, libc = target.split("-")
    abi, tag = LIBC[libc]
    zig = f"{sys.executable} -m ziglang {{}} -target {machine}-linux-{abi}"
    build = ROOT / "build" / target
    compilers = {"CC": zig.format("cc"), "CXX": zig.format("c++")}
    tags = ["--plat-name", f"{tag}_{machine}", "--bdist-dir", build / "wheel", "--dist-dir", OUT]
    run(
        *(sys.executable, "setup.py", "-q", "build", "--build-base", build, "bdist_wheel", *tags),
        cwd=ROOT,
        env=os.environ | compilers | {"_PYTHON_HOST_PLATFORM": f"linux-{machine}"},
    )
    (wheel,) = OUT.glob(f"*{tag}_{machine}.whl")
    holds(zipfile.ZipFile(wheel).namelist(), WHEEL)
    run(BIN / "abi3audit", "--strict", wheel)
    run(BIN / "auditwheel", "show", wheel)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("batchmix-*") if len(sys.argv) == 1 else []:
        old.unlink()
    for target in sys.argv[1:]:
        across(target)
    if len(sys.argv) == 1:
        here()
