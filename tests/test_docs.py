"""The documentation is true: its Python runs, its links lead somewhere, its pages are complete.

Every block fenced as ```python runs, whatever follows the word; ```text and ```bash do not. What a
block prints is shown under it, in a block fenced as ```text title="Output".
"""

from __future__ import annotations

import inspect
import json
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import batchmix as bm
from pages import DOCS, ROOT, blocks, host_pages, printed_by, run
from report import Report

PAGES = sorted(DOCS.rglob("*.md"))
HERE = [page for page in PAGES if page not in host_pages()]  # the others: tests/hosts/test_pages.py
POLICY_PAGES = sorted((DOCS / "policies").glob("[!i]*.md"))  # not the table of all, index.md
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
TUTORIALS = ("composer", "datarax", "fastai", "keras", "timm")
# the examples of api.md are the docstrings', which run as doctests; the others have commands only
NO_BLOCKS = {
    "api.md",
    "contributing.md",
    "design.md",
    "gallery.md",
    "policies/index.md",
    "predict.md",
    "supported-versions.md",
    "train.md",
}
# programs of examples/, as ```py: tests/test_tutorials_page.py
NO_BLOCKS |= {"examples.md", *(f"tutorials/{name}.md" for name in TUTORIALS)}
COMMAND_PAGES = {"bench": "speed.md"}  # the others have the name of their command


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
        printed = printed_by(block, page, namespace)
        assert printed == (block.output or ""), f"{name(page)}: this is what a block prints"


def test_a_false_block_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('text\n\n```python title="wrong"\nassert 1 + 1 == 3\n```\n')
    (block,) = blocks(page)
    with pytest.raises(AssertionError) as failure:
        printed_by(block, page, {})
    assert failure.traceback[-1].lineno == 3  # from 0


def test_the_output_of_a_block_is_the_one_right_after_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '```python\nx = 1\n```\n\n=== "tab"\n\n    ```python\n    print(x, "a ")\n\n    print(2)\n'
        '    ```\n\n    ```text title="Output"\n    1 a\n\n    2\n    ```\n\n'
        '```python\nx = 2\n```\n\nwords\n\n```text title="Output"\n3\n```\n'
    )
    found = blocks(page)
    assert [block.output for block in found] == [None, "1 a\n\n2", None]
    namespace: dict[str, object] = {}
    assert [printed_by(block, page, namespace) for block in found] == ["", "1 a\n2", ""]


@pytest.mark.parametrize(("output", "right"), [("2", True), ("3", False), ("2\n2", False)])
def test_a_page_in_a_process_of_its_own_prints_what_it_shows(
    tmp_path: Path, output: str, right: bool
) -> None:
    page = tmp_path / "host.md"
    page.write_text(
        "```python\nprint('not shown')\n```\n\n"
        f'```python\nprint(2)\n```\n\n```text title="Output"\n{output}\n```\n'
    )
    if right:
        run(page, tmp_path)
    else:
        with pytest.raises(AssertionError, match=r"host\.md shows another output"):
            run(page, tmp_path)


@pytest.mark.parametrize("page", POLICY_PAGES, ids=name)
def test_policy_pages_have_the_fixed_headings(page: Path) -> None:
    found = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    assert found == HEADINGS, f"{name(page)} has other headings than the pages of all policies"
    what_it_does = page.read_text().partition("## Why")[0]
    assert "](../figures/" in what_it_does, (
        f"{name(page)} shows no figure: add one to docs/make_figures.py, run `make figures`, and "
        "show it under 'What it does'"
    )


def test_every_policy_has_a_page_in_the_navigation() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (policies,) = [part["Policies"] for part in config["nav"] if "Policies" in part]
    in_nav = [DOCS / page for part in policies for page in part.values()]
    assert sorted({*in_nav} - {DOCS / "policies" / "index.md"}) == POLICY_PAGES, (
        "mkdocs.yml, nav, Policies: name every page of docs/policies there, and no other"
    )
    titles = " ".join(page.read_text().partition("\n")[0] for page in in_nav).split()
    missing = {cls.__name__ for cls in _policies()} - set(titles)
    assert not missing, (
        f"no page has {sorted(missing)} in its title: add docs/policies/<name>.md with the "
        f"headings {HEADINGS}, its figure in docs/make_figures.py, and its line in mkdocs.yml, nav"
    )


def _policies() -> list[type]:
    """The policy classes among the public names; the protocol itself is none."""
    public = [getattr(bm.policies, word) for word in bm.policies.__all__]
    return [cls for cls in public if hasattr(cls, "sample") and cls is not bm.policies.Policy]


def test_figures_are_those_of_the_script_and_all_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    made = [*runpy.run_path(str(DOCS / "make_figures.py"))["figures"](), "explore"]
    there = {path.name for path in (DOCS / "figures").glob("*.png")}
    assert there == {f"{word}{end}.png" for word in made for end in ("", "-dark")}, "make figures"
    text = " ".join(page.read_text() for page in PAGES)
    used = re.findall(r"figures/([\w-]+\.png)#only-(light|dark)\)", text)
    assert there == {file for file, _ in used}, "a figure that no page shows, or that is not there"
    for file, theme in used:
        assert file.endswith("-dark.png") == (theme == "dark"), file
    shown = [re.findall(rf"!\[([^\]]+)\]\(\S*/{word}\.png#", text) for word in made]
    assert min(len(alt) for alts in shown for alt in alts) > 40, "say what is seen"


def test_the_figures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (DOCS / "figures").rglob("*.png")}
    assert max(sizes.values()) < 300_000, max(sizes, key=lambda name: sizes[name])
    assert sum(sizes.values()) < 8_000_000


def test_the_picture_of_the_audit_says_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    made = runpy.run_path(str(DOCS / "audit_matrix.py"))
    audited = [one for one in json.loads(made["AUDIT"].read_text()) if one.get("findings")]
    checks = list(dict.fromkeys(f["check"] for one in audited for f in one["findings"]))
    lines = {line.name: dict(zip(checks, line.cells)) for line in made["full"](audited, checks)}
    assert list(lines)[-1].startswith("batchmix")
    for one in audited:
        for finding in one["findings"]:
            cell = lines[one["name"]][finding["check"]]
            assert cell.verdict == finding["verdict"]
            assert cell.number == (
                finding.get("number") or None if cell.verdict == "found" else None
            )
    few = {line.name: line.cells for line in made["few"](audited)}
    timm = {cell.number for name, cells in few.items() if name == "timm Mixup" for cell in cells}
    assert 1.0 in timm  # of its three modes the worst
    assert {cell.verdict for cell in few["batchmix Mixer"]} == {"ok"}  # videos: by one for videos
    assert not [name for name in few if "," in name or name.startswith("batchmix for")]


def test_the_readme_shows_each_picture_in_both_themes() -> None:
    text = (ROOT / "README.md").read_text()
    dark = re.findall(
        r'<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)-dark.png">', text
    )
    light = re.findall(r'<img width="\d+" alt="[^"]{40,}" src="([^"]+)\.png">', text)
    assert dark == light != []
    for name in light:
        assert (ROOT / f"{name}.png").is_file()
        assert (ROOT / f"{name}-dark.png").is_file()


def test_the_gallery_has_every_policy() -> None:
    text = (DOCS / "gallery.md").read_text()
    linked = re.findall(
        r"^### \[([^\]]+)\]\((policies/[\w-]+\.md)\)\n\n!\[\1: ", text, re.MULTILINE
    )
    assert sorted(page for _, page in linked) == [name(page) for page in POLICY_PAGES], (
        "docs/gallery.md: a heading, two figures and a line for each page of docs/policies"
    )
    for title, page in linked:
        assert (DOCS / page).read_text().startswith(f"# {title}\n")


def test_figures_of_guides_are_those_of_the_script_and_all_are_used() -> None:
    # drawing them all takes long: those of one theme, which the other shares but for its colours
    made = runpy.run_path(str(DOCS / "make_guide_figures.py"))
    for draw in made["FIGURES"].values():
        with made["drawn"](made["LIGHT"]):
            assert draw(made["LIGHT"]).axes
    names = {f"{name}{end}.png" for name in made["FIGURES"] for end in ("", "-dark")}
    assert names == {path.name for path in (DOCS / "figures" / "guides").iterdir()}
    used = re.findall(r"guides/([\w-]+\.png#only-\w+)", " ".join(p.read_text() for p in PAGES))
    assert set(used) == {f"{one}#only-{'dark' if '-dark' in one else 'light'}" for one in names}


def _commands() -> dict[str, list[str]]:
    """Every command of the command line with its options."""
    from typer.main import get_command

    from batchmix.cli._commands import app

    group: Any = get_command(app)
    options = {word: [o for p in one.params for o in (*p.opts, *p.secondary_opts)]
               for word, one in group.commands.items()}  # fmt: skip
    return {word: [*given, "--help"] for word, given in options.items()}


def test_every_command_has_a_page_in_the_navigation() -> None:
    in_nav = (ROOT / "mkdocs.yml").read_text().split()
    readme = (ROOT / "README.md").read_text()
    for command in _commands():
        page = COMMAND_PAGES.get(command, f"{command}.md")
        assert page in in_nav, (
            f"batchmix {command}: add docs/{page} and its line in mkdocs.yml, nav"
        )
        assert f"batchmix {command}" in (DOCS / page).read_text() + readme


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_pages_name_commands_and_options_that_exist(page: Path) -> None:
    commands = _commands()
    for block in re.findall(r"^```bash\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for command, rest in re.findall(r"^batchmix (\w+)(.*)$", block.replace("\\\n", " "), re.M):
            given = re.findall(r"(?<=\s)--[a-z-]+", rest.partition("#")[0])
            assert set(given) <= set(commands[command]), f"batchmix {command}{rest}"


LATEX = {
    r"\tau": "τ",
    r"\Omega_i \le \infty": "Ω<sub>i</sub> ≤ ∞",
    r"\lambda^{\tau_{i}}": "λ<sup>τ<sub>i</sub></sup>",
    r"\frac{1}{1 + e^{-z}}": "1/(1 + e<sup>-z</sup>) ",
    r"\sqrt{\mathrm{Var}(x)}": "√(Var(x))",
    r"\hat{y}_i \in \{0, 1\}": "ŷ<sub>i</sub> ∈ &#123;0, 1&#125;",
    r"\max_c z_c": "max<sub>c</sub> z<sub>c</sub>",
    r"\unheard{x} \of y": "unheard x of y",
    "}{\\": "",
}


@pytest.mark.parametrize("latex", LATEX)
def test_latex_is_rendered_and_what_is_not_known_is_text(latex: str) -> None:
    plain = runpy.run_path(str(DOCS / "docstrings.py"))["plain"]
    assert plain(latex) == LATEX[latex]


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
        for word, value in vars(module).items():
            if getattr(value, "__module__", "").startswith(module.__name__) and word[0] != "_":
                expected.add(f"{module.__name__}.{getattr(value, '__name__', word)}")
    assert expected <= page.ids


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text()):
        if not urlsplit(link).netloc:
            assert (ROOT / urlsplit(link).path).exists(), link
