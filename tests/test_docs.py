"""The documentation is true: its Python runs, its links lead somewhere, its pages are complete.

Every block fenced as ```python runs, whatever stands behind the word; ```text and ```bash do not.
"""

from __future__ import annotations

import inspect
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import batchmix as bm
from pages import DOCS, ROOT, blocks, host_pages
from report import Report

PAGES = sorted(DOCS.rglob("*.md"))
HERE = [page for page in PAGES if page not in host_pages()]  # the others: tests/hosts/test_pages.py
POLICY_PAGES = sorted((DOCS / "policies").glob("*.md"))
HEADINGS = [
    "What it does",
    "Why",
    "Formula",
    "Defaults and where they come from",
    "Example",
    "When not to use",
    "Differs from other libraries",
    "Cost",
    "Source",
]
NO_BLOCKS = {"api.md"}  # its examples are the docstrings', which run as doctests


def name(page: Path) -> str:
    """A page as it is written in mkdocs.yml."""
    return page.relative_to(DOCS if DOCS in page.parents else ROOT).as_posix()


@pytest.mark.parametrize("page", [ROOT / "README.md", *HERE], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page)
    if page.read_text().strip():
        assert bool(found) != (name(page) in NO_BLOCKS)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": name(page)}
    for block in found:
        exec(compile(block, str(page), "exec"), namespace)


def test_a_false_block_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('text\n\n```python title="wrong"\nassert 1 + 1 == 3\n```\n')
    (block,) = blocks(page)
    with pytest.raises(AssertionError) as failure:
        exec(compile(block, str(page), "exec"), {})
    assert failure.traceback[-1].lineno == 3  # from 0


@pytest.mark.parametrize("page", POLICY_PAGES, ids=name)
def test_policy_pages_have_the_fixed_headings(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == HEADINGS
    what_it_does = page.read_text().partition("## Why")[0]
    assert "](../figures/" in what_it_does


def test_every_policy_has_a_page_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (policies,) = [part["Policies"] for part in config["nav"] if "Policies" in part]
    in_nav = [DOCS / page for part in policies for page in part.values()]
    assert sorted(in_nav) == POLICY_PAGES
    titles = " ".join(page.read_text().partition("\n")[0] for page in in_nav).split()
    assert {cls.__name__ for cls in _policies()} <= set(titles)


def _policies() -> list[type]:
    """The policy classes among the public names; the protocol itself is none."""
    public = [getattr(bm.policies, word) for word in bm.policies.__all__]
    return [cls for cls in public if hasattr(cls, "sample") and cls is not bm.policies.Policy]


def test_figures_are_those_of_the_script_and_all_are_used() -> None:
    made = runpy.run_path(str(DOCS / "make_figures.py"))["figures"]()
    there = {path.name for path in (DOCS / "figures").iterdir()}
    assert there == {*made, "compare.png", "explore.png", "explore-dark.png"}
    used = re.findall(r"figures/([\w-]+\.png)", " ".join(page.read_text() for page in PAGES))
    assert there == set(used)


def test_the_table_of_measured_speed_is_that_of_the_last_run() -> None:
    made = runpy.run_path(str(DOCS / "speed_table.py"))
    report = Report.load(ROOT / "benchmarks" / "results.json")
    text = (DOCS / "speed.md").read_text()
    assert made["page"](text, report) == text
    assert "| timm | in place |" in made["tables"](report)


class Page(HTMLParser):
    """What a built page names, links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.ids.add(found.get("id", ""))
        self.classes |= set(found.get("class", "").split())
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link":
            self.loads.append(found["href"])
        self.loads += [found[key] for key in ("src", "srcset", "poster", "data") if key in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The site, built from a clean process; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path.read_text()) for path in out.rglob("*.html")}


def test_internal_links_resolve(site: dict[Path, Page]) -> None:
    top = min(site, key=lambda path: len(path.parts)).parent
    for path, page in site.items():
        if path.name == "404.html":  # its links are from the root of the host
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.relative_to(top)}: {link}"
            if parts.fragment and target in site:
                assert parts.fragment in site[target].ids, f"{path.relative_to(top)}: {link}"


def test_no_page_loads_anything_from_another_host(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        assert not [place for place in page.loads if _elsewhere(place)], path
        assert not page.classes & {"mermaid", "arithmatex"}, path  # scripts would be fetched
    top = min(site, key=lambda path: len(path.parts)).parent
    for path in top.rglob("*.css"):
        text = path.read_text()
        places = re.findall(r"url\(\s*[\"']?([^)\"']+)", text)
        places += re.findall(r"@import\s+[\"']([^\"']+)", text)
        assert not [place for place in places if _elsewhere(place)], path


def _elsewhere(place: str) -> bool:
    """Whether an address is of another host."""
    return bool(urlsplit(place).netloc)


def test_every_public_name_is_in_the_api(site: dict[Path, Page]) -> None:
    (page,) = [page for path, page in site.items() if path.parent.name == "api"]
    modules = [getattr(bm, word) for word in bm.__all__ if inspect.ismodule(getattr(bm, word))]
    expected = {f"batchmix.{word}" for word in bm.__all__} - {m.__name__ for m in modules}
    for module in modules:
        public = [v for word, v in vars(module).items() if not word.startswith("_")]
        own = [v for v in public if getattr(v, "__module__", "").startswith(module.__name__)]
        expected |= {f"{module.__name__}.{v.__name__}" for v in own if hasattr(v, "__name__")}
    assert expected <= page.ids


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text()):
        if not urlsplit(link).netloc:
            assert (ROOT / urlsplit(link).path).exists(), link
