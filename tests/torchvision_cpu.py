"""Test set-up: let torchvision and torchaudio be imported beside a PyTorch without CUDA.

torchvision's wheel is linked against CUDA. Without it the compiled extension does not load, which
torchvision tolerates but for two operators that it describes to the compiler and that then do not
exist. Declaring those two is enough for everything but detection operators and image decoding.

torchaudio's wheel is linked against CUDA too, and tolerates only that its extension is not there at
all. So it is told that: what is written in Python works, which is what others import it for.

Run `python tests/torchvision_cpu.py` once in a virtual environment: every process of it then makes
the declaration just before torchvision is first imported. Where the extension loads, or PyTorch has
CUDA, nothing is done.
"""

import importlib.abc
import importlib.machinery
import pathlib
import sys
import sysconfig

OPERATORS = ("nms", "qnms")
_libraries = []  # a declaration lives as long as its library object


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision is about to be imported, then steps aside."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(operator + signature)
            _libraries.append(library)
        return importlib.machinery.PathFinder.find_spec(name, path)


class NoAudioExtension(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """In the place of torchaudio's loader of its extension: there is none."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchaudio._extension":
            return None
        import torch

        sys.meta_path.remove(self)
        if torch.version.cuda is not None:
            return importlib.machinery.PathFinder.find_spec(name, path)
        return importlib.machinery.ModuleSpec(name, self)

    def exec_module(self, module):
        module._IS_TORCHAUDIO_EXT_AVAILABLE = module._IS_ALIGN_AVAILABLE = False
        module._load_lib = lambda library: False
        module._check_cuda_version = lambda: None
        module.fail_if_no_align = lambda function: function


def install() -> None:
    """Make every process of this environment import this file at its start."""
    site = pathlib.Path(sysconfig.get_path("purelib"))
    (site / "torchvision_cpu.py").write_text(pathlib.Path(__file__).read_text())
    (site / "torchvision_cpu.pth").write_text("import torchvision_cpu\n")


if __name__ == "__main__":
    install()
else:
    if "torchvision" not in sys.modules:
        sys.meta_path.insert(0, BeforeTorchvision())
    if "torchaudio" not in sys.modules:
        sys.meta_path.insert(0, NoAudioExtension())
