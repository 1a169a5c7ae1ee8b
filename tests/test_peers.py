"""The pages about other libraries say what was measured, and nothing that is older."""

import json
import re
import runpy

import pytest

from pages import DOCS

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
