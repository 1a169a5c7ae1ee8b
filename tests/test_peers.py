"""The pages about other libraries say what was measured, and nothing that is older."""

import json
import re
import runpy

import numpy as np
import pytest

from pages import DOCS

AUDITED = runpy.run_path(str(DOCS / "audit_peers.py"))
PEERS = runpy.run_path(str(DOCS / "peers.py"))
AUDIT = json.loads((DOCS / "audit.json").read_text())
NAMES = sorted(path.stem for path in (DOCS / "peers").glob("*.md"))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_what_the_script_makes(name):
    text = (DOCS / "peers" / f"{name}.md").read_text()
    assert PEERS["page"](name, text, AUDIT) == text, "run: python docs/peers.py"


def test_every_library_that_was_audited_has_a_page():
    assert sorted(PEERS["PEERS"]) == NAMES == sorted(PEERS["THEIRS"]) == sorted(PEERS["VERSIONS"])
    starts = tuple(peer.audited for peer in PEERS["PEERS"].values())
    strangers = [told["name"] for told in AUDIT if told["distribution"] != "batchmix"]
    assert all(name.startswith(starts) for name in strangers)


@pytest.mark.parametrize("name", NAMES)
def test_versions_of_the_features_are_those_that_were_audited(name):
    peer = PEERS["PEERS"][name]
    found = {told["version"] for told in AUDIT if told["name"].startswith(peer.audited)}
    said = re.findall(r"\d[\w.]*\w", PEERS["VERSIONS"][name])
    assert all(any(version.startswith(one) for one in said) for version in found)


def test_a_row_in_which_the_other_library_is_faster_is_shown_and_counted():
    made = PEERS["speed"](PEERS["PEERS"]["timm"])
    slower = re.findall(r"\| \*\*(0\.\d+)\*\* \|", made)
    assert slower
    assert f"timm is faster in {len(slower)} of the" in made


def test_every_page_says_when_to_stay():
    for name in NAMES:
        head = (DOCS / "peers" / f"{name}.md").read_text().partition("## ")[0]
        assert re.search(r"\*\*(Stay|keep) ", head), name


@pytest.mark.parametrize("which", ["one lam", "a lam per row"])
def test_what_is_published_of_ffcv_is_what_its_formula_shows(which):
    name = f"FFCV's formula, {which}"
    (told,) = [told for told in AUDIT if told["name"] == name]
    (peer,) = [peer for peer in AUDITED["numpy_peers"]() if peer.name == name]
    assert AUDITED["entry"](peer)["findings"] == told["findings"]


def test_ffcvs_formula_writes_over_the_weight_of_two_rows_of_one_class():
    mix = AUDITED["FfcvMixup"](alpha=1.0, same_lambda=True, classes=3)
    images = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    mixed, labels = mix(images, np.array([2, 2, 0, 1]))
    lam = 1 - labels[1].sum()  # row 1 and its partner, row 0, are of class 2
    assert 0 < lam < 1
    assert np.allclose(labels.sum(1), [1, 1 - lam, 1, 1])
    assert np.allclose(mixed.ravel(), lam * np.arange(4) + (1 - lam) * np.array([3, 0, 1, 2]))


def test_the_page_of_the_audit_says_what_was_not_audited():
    assert AUDITED["NOT_AUDITED"] in (DOCS / "audit.md").read_text()
