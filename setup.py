"""Builds the native kernel, once per instruction set; without a compiler the install goes on."""

import os
import pathlib
import subprocess
import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# of the machine that is built for: a cross build says so in _PYTHON_HOST_PLATFORM
X86 = sysconfig.get_platform().endswith("-x86_64")
SETS = {"baseline": []}
if X86:
    SETS["avx2"] = ["-mavx2", "-mf16c"]
    SETS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mf16c"]
FLAGS = ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden", "-pthread"]
# no contraction to fused operations: results are those of NumPy, bit by bit
FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"]
if sys.platform == "win32":
    FLAGS = ["/std:c++17", "/O2", "/fp:precise"]
# one build for every Python from 3.11 on; free-threaded ones have no such limited API
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
MACROS = [("Py_LIMITED_API", "0x030b0000")] * LIMITED + [("BATCHMIX_X86", None)] * X86
FLAGS += os.environ.get("BATCHMIX_CXXFLAGS", "").split()  # for sanitizers


class BuildKernel(build_ext):
    """Compiles isa.cpp with the flags of each instruction set, the rest for any machine."""

    def run(self):
        """Compiles, but for an editable install of what is compiled: its file serves every one."""
        if not (self.editable_mode and self.is_compiled()):
            super().run()

    def is_compiled(self):
        """Whether the kernel lies beside the code, newer than its sources, for this machine."""
        made = pathlib.Path("src", self.get_ext_filename(self.extensions[0].name))
        used = [pathlib.Path(path) for path in ("setup.py", *self.extensions[0].depends)]
        if "BATCHMIX_CXXFLAGS" in os.environ or not made.exists():
            return False
        if made.stat().st_mtime <= max(path.stat().st_mtime for path in used):
            return False
        # it may be another system's, of a shared folder, or cut off: whoever loads that may crash
        load = f"import ctypes; ctypes.CDLL({str(made.resolve())!r})"
        loaded = subprocess.run([sys.executable, "-c", load], check=False, capture_output=True)  # noqa: S603
        return loaded.returncode == 0

    def build_extension(self, ext):
        """Called for the one extension; `optional` turns a failure into a warning."""
        ext.extra_objects = []
        for name, flags in SETS.items():
            ext.extra_objects += self.compiler.compile(
                ["native/isa.cpp"],
                output_dir=str(pathlib.Path(self.build_temp) / name),
                macros=[*ext.define_macros, ("ISA", name)],
                extra_postargs=[*FLAGS, *flags],
            )
        super().build_extension(ext)


setup(
    ext_modules=[
        Extension(
            "batchmix.backends._kernel",
            ["native/kernel.cpp", "native/labels.cpp", "native/module.cpp"],
            depends=sorted(str(path) for path in pathlib.Path("native").iterdir()),
            define_macros=MACROS,
            extra_compile_args=FLAGS,
            extra_link_args=[] if sys.platform == "win32" else FLAGS[4:],
            py_limited_api=LIMITED,
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
