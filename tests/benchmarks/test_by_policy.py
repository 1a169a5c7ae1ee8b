"""The policies one by one: each line is what it says, and right where the oracle knows it."""

import pytest
import torch

import by_policy
import child
import peers
import run
from batchmix import policies
from peers import published

TINY = (6, 3, 16, 16)
NOT_PIXELS = {  # what combines others, reads what pixels do not tell, or is for sounds and tables
    "BetweenClass",
    "ClassMix",
    "Columns",
    "CopyBlend",
    "CopyPaste",
    "Layers",
    "Paste",
    "PerBatch",
    "PerPair",
    "Policy",
    "Ramp",
    "ReMix",
    "Request",
    "SNR",
    "Schedule",
    "Sometimes",
    "SpecMix",
    "Switch",
    "Unpadded",
}
AS_ANOTHER = {"Blend"}  # the pixels of MixUp


def lines(dtype, *libraries):
    """Each with its verdict, or none."""
    batch = by_policy.images(TINY, dtype)
    modules = {name: peers.load(name) for name in libraries}
    before = batch.x.clone()
    found = {
        (case.library, case.work, case.how): (case, child._checked(batch, case))
        for case in by_policy.cases(batch, modules)
    }
    assert (batch.x == before).all()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
def test_every_line_is_right(dtype):
    found = lines(dtype)
    for (library, work, how), (case, told) in found.items():
        pixels = case.call()
        assert (pixels.dtype, tuple(pixels.shape)) == (dtype, TINY), (library, work, how)
        assert told == {} or told["check"]["right"], (library, work, how, told)
    checked = {(library, work) for (library, work, _), (_, told) in found.items() if told}
    assert {work for library, work in checked if library == published.LIBRARY} == {*published.MASKS}
    assert {work for library, work in checked if library == "batchmix"} == {*published.MASKS}


def test_every_policy_that_pastes_pictures_has_a_line():
    classes = {type(policy).__name__ for policy in by_policy.POLICIES.values()}
    assert classes == set(policies.__all__) - NOT_PIXELS - AS_ANOTHER


@pytest.mark.parametrize("library", ["torchvision", "kornia"])
def test_other_libraries_draw_for_themselves(library):
    pytest.importorskip(library)
    batch = by_policy.images(TINY, torch.float32)
    found = list(peers.load(library).per_row(batch))
    assert {case.work for case in found} <= {*by_policy.POLICIES}
    for case in found:
        assert child._checked(batch, case) == {} or child._checked(batch, case)["check"]["right"]
        first = case.call()[0] if isinstance(case.call(), (tuple, list)) else case.call()
        assert first.shape == TINY


def test_plans_vary_from_call_to_call():
    batch = by_policy.images(TINY, torch.uint8)
    for case in by_policy.draws(batch):
        one, two = case.call(), case.call()
        assert len(one) == len(batch)
        assert (one.lam != two.lam).any(), case.work


def test_the_part_is_printed_without_targets(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "HERE", tmp_path)
    run.bench(only="policies", shape=["4x3x8x8"], seconds=0.0)
    text = capsys.readouterr().out
    assert "4x3x8x8, policies, uint8" in text
    assert "4x3x8x8, policies, plans" in text
    assert "Targets" not in text
    assert not list(tmp_path.iterdir())
