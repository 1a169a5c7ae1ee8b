"""The page of methods leaves out nothing that other libraries have, and names what exists."""

import re

import pytest

import batchmix as bm
import methods_page
from pages import DOCS

OPENMIXUP = (
    "alignmix attentivemix augmix automix cutmix fmix gridmix guidedmix manifoldmix mixpro mixup "
    "puzzlemix resizemix saliencymix samix smmix smoothmix snapmix tla tokenmix transmix vanilla"
)


@pytest.mark.parametrize("library", ["torchvision", "timm", "kornia"])
def test_every_class_that_mixes_is_named(library):
    pytest.importorskip(library)
    methods_page.check(library)


def test_every_mode_of_openmixup_is_named():
    part = (DOCS / "methods.md").read_text().partition("## OpenMixup")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == OPENMIXUP.split()


def test_what_is_said_to_be_here_is_here():
    text = (DOCS / "methods.md").read_text()
    cells = re.findall(r"^\|[^|]+\|([^|]+)\|[^|]*\|$", text, re.MULTILINE)
    named = {word for cell in cells for word in re.findall(r"`([A-Z]\w+)", cell)}
    policies = named - {"None", "MixLayer", "MixHandler", "MixCallback", "MixNet"}
    assert policies >= {"MixUp", "CutMix", "FMix", "GridMix", "Mosaic", "CopyPaste"}
    assert {word for word in policies if not hasattr(bm.policies, word)} == set()
