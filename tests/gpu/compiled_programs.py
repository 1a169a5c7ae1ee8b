"""Compiles the kernels for GPUs that are not there, and prints what is in the programs as JSON.

python tests/gpu/compiled_programs.py
"""

import collections
import json
import re

import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from batchmix.backends import _triton_kernel as kernel

FORM = {
    "LAYERS": 1, "AXES": 2, "ENTRY": 6, "SOURCE": False, "PARTS": 0, "WIDE": False, "MASK": False,
    "CHOOSE": False, "COMPUTE": tl.float32, "INTEGER": False, "IN_PLACE": False, "CHAINED": False,
    "LINES": 64, "CELLS": 64,
}  # fmt: skip
FEW = {"LINES": 16}
STRETCHED = {"SOURCE": True, "ENTRY": 10} | FEW
PROGRAMS = {
    "boxes": ("bf16", {}),
    "whole rows": ("bf16", {"AXES": 0, "LINES": 1, "CELLS": 4096}),
    "float32": ("fp32", {"LINES": 32}),
    "float64": ("fp64", {"COMPUTE": tl.float64} | FEW),
    "uint8": ("u8", {"INTEGER": True, "LINES": 32, "CELLS": 128}),
    "ids": ("i64", {"CHOOSE": True} | FEW),
    "in place": ("bf16", {"IN_PLACE": True, "CHAINED": True}),
    "layers": ("bf16", {"LAYERS": 3}),
    "mask": ("bf16", {"MASK": True} | FEW),
    "nearest": ("bf16", STRETCHED),
    "bilinear": ("bf16", STRETCHED | {"PARTS": 256}),
    "long": (
        "bf16",
        STRETCHED
        | {"PARTS": 65536, "WIDE": True, "AXES": 1, "ENTRY": 6, "LINES": 1, "CELLS": 1024},
    ),
}
NORMALIZED = {"CHANNELS": 3} | {
    name: value for name, value in FORM.items()
    if name in ("LAYERS", "AXES", "ENTRY", "SOURCE", "WIDE", "MASK", "CELLS")
} | FEW  # fmt: skip
SOFT = {"CLASSES": 1024}


def program(function, constants, pointers, target):
    """PTX; sizes and pointers are multiples of 16, as those of most images are."""
    names = function.arg_names
    floats = {"off", "on", "wrong"}
    kinds = {name: "fp32" if name in floats else "i32" for name in names} | pointers
    kinds |= dict.fromkeys(constants, "constexpr")
    even = {"x_row", "other_row", "out_row", "lines", "cells", *pointers}
    attributes = {(k,): [["tt.divisibility", 16]] for k, name in enumerate(names) if name in even}
    values = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(function, kinds, values, attributes)
    options = {"num_warps": 4, "enable_fp_fusion": False}
    return compile(source, target=GPUTarget("cuda", target, 32), options=options).asm["ptx"]


def programs(target):
    for name, (dtype, form) in PROGRAMS.items():
        arrays = dict.fromkeys(["x", "other", "out"], f"*{dtype}")
        pointers = arrays | {"words": "*i32", "masks": "*u8"}
        yield name, program(kernel.paste, FORM | form, pointers, target)
    pointers = {"x": "*u8", "out": "*bf16", "words": "*i32", "masks": "*u8"}
    yield "normalize", program(kernel.normalize, NORMALIZED, pointers, target)
    pointers = {"ids": "*i64", "theirs": "*i64", "out": "*fp32", "words": "*i32"}
    yield "soft", program(kernel.soft, SOFT, pointers, target)


if __name__ == "__main__":
    pattern = r"\b(?:ld|st)\.(?:global|local|shared)[\w.]*|\bbar\.sync|\bfma\.[\w.]+"
    found = {
        f"{name}, {target}": collections.Counter(re.findall(pattern, ptx))
        for target in (80, 90)
        for name, ptx in programs(target)
    }
    print(json.dumps(found))
