"""What broke, or could: batches and plans at the edges, and machines where Triton does not work."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import batchmix as bm
from batchmix.backends import _native, _torch_gpu, _triton, _triton_words, kernels

BOXES = [[[0, 4], [2, 7]], [[1, 6], [0, 9]], [[0, 6], [0, 9]], [[3, 3], [0, 9]]]
PLAN = bm.Plan([1, 2, 3, 0], BOXES, [1, 0.5, 0.25, 1], "HW", (6, 9))
ON_TENSORS = bm.Plan.unchecked(
    **PLAN.form, **{name: torch.from_numpy(value.copy()) for name, value in PLAN.columns().items()}
)


def assert_as_on_host(x, plan, layout, **kept):
    want = bm.mix(x.cpu().numpy(), plan, layout)
    np.testing.assert_allclose(bm.mix(x, plan, layout, **kept).cpu().numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("layers", [1, 2])
def test_no_rows_with_sources(device, layers):
    plan = bm.Plan([], np.zeros((0, 1, 2)), [], "T", (4,), source=np.zeros((0, 1, 2)))
    plan = plan.then(plan) if layers == 2 else plan
    assert bm.mix(torch.empty(0, 4, device=device), plan, "NT").shape == (0, 4)


def views():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((9, 3, 6, 18)).astype(np.float32))
    return {
        "rows apart": x[1::2, ..., :9], "cells apart": x[:4, ..., ::2],
        "begins later": x[3:7, ..., 1:10],
        "width first": x[:4, ..., :9].permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1),
        "channels last": x[:4, ..., :9].to(memory_format=torch.channels_last),
        "another order": x[:4, ..., :9].permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0),
        "one row": x[:1, ..., :9].expand(4, 3, 6, 9),
        "batch last": x[:4, ..., :9].permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(views()))
def test_any_memory(device, name):
    x = views()[name].to(device)
    assert_as_on_host(x, PLAN, "NCHW")
    if name != "one row":
        want = bm.mix(x.cpu().numpy(), PLAN, "NCHW")
        bm.mix(x, PLAN, "NCHW", out=x)
        np.testing.assert_allclose(x.cpu().numpy(), want, rtol=1e-6)


def test_columns_that_are_tensors_follow_the_order_of_memory(device):
    if device != "cpu":
        pytest.skip("the columns are those of the host")
    x = views()["width first"]
    np.testing.assert_array_equal(bm.mix(x, ON_TENSORS, "NCHW"), bm.mix(x, PLAN, "NCHW"))


def test_rounded_half_to_even(device):
    """Also in Triton's interpreter, which of itself cuts off what bfloat16 has no bits for."""
    x = torch.tensor([[1.0, 3.0], [1.0078125, -3.015625]], dtype=torch.bfloat16, device=device)
    plan = bm.Plan([1, 0], [], [0.5, 0.5], "", ())
    want = (x.float() + x.flip(0).float()).div(2).bfloat16()
    assert torch.equal(bm.mix(x, plan, "NC"), want)


class Spy:
    """Notes the constants of each launch."""

    def __init__(self, kernel, seen):
        self.kernel, self.seen = kernel, seen

    def __getitem__(self, grid):
        def launch(*told, **constants):
            self.seen.append(constants)
            return self.kernel[grid](*told, **constants)

        return launch


@pytest.mark.parametrize(("step", "chained"), [(1 << 20, False), (0, True)])
def test_rows_wait_for_one_another_only_where_that_is_quicker(device, monkeypatch, step, chained):
    """One cycle through all rows, as most pairings make, is one row after the other."""
    seen = []
    monkeypatch.setattr(_triton_words, "_STEP", step)
    monkeypatch.setattr(_triton.kernel, "paste", Spy(_triton.kernel.paste, seen))
    x = torch.rand(4, 6, 9, device=device)
    want = bm.mix(x.cpu().numpy(), PLAN, "NHW")
    bm.mix(x, PLAN, "NHW", out=x)
    np.testing.assert_allclose(x.cpu().numpy(), want, rtol=1e-6)
    assert [constants["CHAINED"] for constants in seen] == [chained]


def test_no_order_is_sought_among_very_many_rows(device, monkeypatch):
    """In Python that takes a second for each million."""

    def sought(*_):
        raise AssertionError

    monkeypatch.setattr(_triton_words, "visits", sought)
    monkeypatch.setattr(_triton_words, "_ORDERED", 3)
    monkeypatch.setattr(_triton_words, "_CACHE", 0)
    x = torch.rand(4, 6, 9, device=device)
    assert_as_on_host(x, PLAN, "NHW")
    assert_as_on_host(x, PLAN, "NHW", out=x)


def in_another_process(code, monkeypatch):
    for name in ("TRITON_INTERPRET", "BATCHMIX_KERNEL"):
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_program_for_each_number_of_rows_or_tiles(monkeypatch):
    """Triton compiles anew where an integer becomes 1 or a multiple of 16, unless told not to."""
    code = (
        "from batchmix.backends import _triton_kernel as k\n"
        "for f in (k.paste, k.normalize, k.soft):\n"
        "    print(*(p.name for p in f.params if not p.is_constexpr and not p.do_not_specialize))"
    )
    pointers = {"x", "other", "out", "words", "masks", "ids", "theirs", "off", "on", "wrong"}
    widths = {"x_row", "other_row", "out_row", "cells", "after", "classes"}
    assert set(in_another_process(code, monkeypatch)) <= pointers | widths


def test_tensors_on_the_host_need_no_triton(monkeypatch):
    code = (
        "import sys, torch, batchmix as bm\n"
        "bm.mix(torch.rand(2, 3), bm.Plan.identity(2), 'NC')\n"
        "print('batchmix.backends._triton' in sys.modules)"
    )
    assert in_another_process(code, monkeypatch) == ["False"]


class Broken:
    def __getitem__(self, grid):
        def launch(*_, **__):
            raise RuntimeError("Failed to find C compiler.\nSet CC.")

        return launch


@pytest.fixture
def no_compiler(device, monkeypatch):
    """As on a machine without one: the first launch says so."""
    for name in ("paste", "normalize", "soft"):
        monkeypatch.setattr(_triton.kernel, name, Broken())
    monkeypatch.setattr(_triton, "_launched", [])
    monkeypatch.setattr(_torch_gpu, "_found", [device])
    monkeypatch.setitem(_native._state, "triton", True)
    return device


def verbs(x):
    y, bytes_ = torch.arange(4, device=x.device), (255 * x).to(torch.uint8)[..., None]
    return {
        "mix": lambda: bm.mix(x, PLAN, "NHW"),
        "in place": lambda: bm.mix(x, PLAN, "NHW", out=x),
        "labels": lambda: bm.mix_labels(y, PLAN, 10),
        "normalised": lambda: bm.mix_normalize(bytes_, PLAN, [1], [2]),
        "stacked": lambda: bm.mix_stack(list(bytes_), PLAN),
        "gradients": lambda: bm.mix(x.clone().requires_grad_(), PLAN, "NHW").sum().backward(),
    }


@pytest.mark.parametrize(
    "verb", ["mix", "in place", "labels", "normalised", "stacked", "gradients"]
)
def test_where_nothing_can_be_compiled_the_portable_path_is_taken(no_compiler, verb):
    x = torch.rand(4, 6, 9, device=no_compiler)
    want = bm.mix(x.cpu().numpy(), PLAN, "NHW")
    with pytest.warns(UserWarning, match=r"Triton does not work here \(RuntimeError: Failed to"):
        made = verbs(x)[verb]()
    if verb in ("mix", "in place"):
        np.testing.assert_allclose(made.cpu().numpy(), want, rtol=1e-6)
    assert kernels()["cuda"] == "portable"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        verbs(x)[verb]()


def test_where_triton_cannot_be_imported(no_compiler, monkeypatch):
    monkeypatch.setattr(_torch_gpu, "_OPERATOR", "batchmix.backends._there_is_none")
    with pytest.warns(UserWarning, match="ModuleNotFoundError"):
        bm.mix(torch.rand(4, 6, 9, device=no_compiler), PLAN, "NHW")


def test_what_breaks_later_is_told(device, monkeypatch):
    bm.mix(torch.rand(4, 6, 9, device=device), PLAN, "NHW")
    monkeypatch.setattr(_triton.kernel, "paste", Broken())
    with pytest.raises(RuntimeError, match="Failed to find"):
        bm.mix(torch.rand(4, 6, 9, device=device), PLAN, "NHW")


def test_vmap_in_a_compiled_step(device):
    x = torch.rand(2, 4, 6, 9, device=device)
    mixed = torch.compile(
        torch.vmap(lambda rows: bm.mix(rows, PLAN, "NHW")), backend="aot_eager", fullgraph=True
    )(x)
    for got, rows in zip(mixed, x, strict=True):
        np.testing.assert_allclose(
            got.cpu().numpy(), bm.mix(rows.cpu().numpy(), PLAN, "NHW"), rtol=1e-6
        )
