"""The documentation is true: its Python runs, its links lead somewhere, its pages are complete.

Every block fenced as ```python runs, whatever follows the word, and what it prints is shown under
it; ```bash runs where what it prints is shown (see pages.py); ```text does not.
"""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import re
import runpy
import subprocess
import sys
import tomllib
from ast import literal_eval
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import batchmix as bm
from pages import (
    DOCS,
    ROOT,
    all_blocks,
    blocks,
    host_pages,
    printed_by,
    run,
    section,
    without_numbers,
)
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
# the examples of api/ are the docstrings', which run as doctests; the others have commands only
NO_BLOCKS = {
    "bench.md",
    "commands/index.md",
    "contributing.md",
    "benchmarks.md",
    "design.md",
    "gallery.md",
    "install.md",
    "policies/index.md",
    "predict.md",
    "supported-versions.md",
    "train.md",
    "versions.md",
}
NO_BLOCKS |= {f"upstream/{path.name}" for path in (DOCS / "upstream").iterdir()}  # test_upstream.py
TUTORIALS = ("composer", "datarax", "fastai", "keras", "timm")
# programs of examples/, as ```py: tests/test_tutorials_page.py
NO_BLOCKS |= {"examples.md", *(f"tutorials/{name}.md" for name in TUTORIALS)}


def name(page: Path) -> str:
    """A page as it is written in mkdocs.yml."""
    return page.relative_to(DOCS if DOCS in page.parents else ROOT).as_posix()


@pytest.mark.parametrize("page", [ROOT / "README.md", *HERE], ids=name)
def test_blocks_run_and_print_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.read_text().strip():
        assert bool(blocks(page)) != (name(page) in NO_BLOCKS or DOCS / "api" in page.parents)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": name(page)}
    for block in all_blocks(page):
        printed, output = printed_by(block, page, namespace), block.output or ""
        if block.varies and without_numbers(printed) == without_numbers(output):
            continue
        assert printed == output, f"{name(page)}: this is what a block prints"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_an_output_is_that_of_the_block_before_it(page: Path) -> None:
    outputs = re.findall(r'^ *```text title="Output', page.read_text(), re.MULTILINE)
    assert len(outputs) == len([block for block in all_blocks(page) if block.output is not None])
    if page in host_pages():
        assert not blocks(page, "bash"), f"{name(page)}: commands run on pages of no host"


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


def test_commands_run_where_their_output_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.md").write_text(
        '```python title="mine.py"\nx = 7\n```\n\n```bash\nfalse\n```\n\n```bash\ncat mine.py\n'
        'batchmix --version | head -n 1\n```\n\n```text title="Output, numbers vary"\n'
        "x = 8\nbatchmix 1.2.3\n```\n"
    )
    keep, command = all_blocks(Path("page.md"))
    assert printed_by(keep, Path("page.md"), {}) == ""
    assert printed_by(command, Path("page.md"), {}) == f"x = 7\nbatchmix {bm.__version__}"
    assert (command.output, command.varies) == ("x = 8\nbatchmix 1.2.3", True)


@pytest.mark.parametrize(
    ("page", "run", "alike"),
    [
        ("a   0.5±0.1\n────\n", "a 10.5±0.25\n─────", True),
        ("gains +1.0 points", "gains -0.3 points", True),
        ("3 rows", "3 columns", False),
    ],
)
def test_only_numbers_may_vary(page: str, run: str, alike: bool) -> None:
    assert (without_numbers(page) == without_numbers(run)) == alike


def test_an_output_of_no_known_kind_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```bash\nls\n```\n\n```text title="Output of mine"\n1\n```\n')
    with pytest.raises(AssertionError, match="no output has the title Output of mine"):
        blocks(page)


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
    in_nav = section("Policies")
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
    sizes = {path.name: path.stat().st_size for path in (DOCS / "figures").glob("*.png")}
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


def test_pictures_of_commands_are_those_of_the_script_and_all_are_used() -> None:
    made = runpy.run_path(str(DOCS / "command_pictures.py"))["RUNS"]
    assert {path.name for path in (DOCS / "commands").glob("*.png")} == {*made}
    used = re.findall(r"\(commands/([\w-]+\.png)", " ".join(page.read_text() for page in PAGES))
    assert {*used} == {*made}


def test_the_search_finds_policies_before_reports_for_other_libraries() -> None:
    weigh = runpy.run_path(str(DOCS / "menu_and_search.py"))["on_page_markdown"]
    found: dict[str, float] = {}
    for one in ("policies/cutmix.md", "speed.md", "upstream/keras-cutmix-labels.md"):
        assert (DOCS / one).exists()
        page = SimpleNamespace(file=SimpleNamespace(src_uri=one), meta={})
        assert weigh("words", page=page) == "words"
        found[one] = page.meta.get("search", {"boost": 1})["boost"]
    assert sorted(found, key=lambda one: -found[one]) == [*found]
    assert len({*found.values()}) == 3


@pytest.mark.parametrize("version", [None, "0.1"])
def test_the_site_has_a_menu_of_versions_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.delenv("MIKE_DOCS_VERSION", raising=False)
    if version:
        monkeypatch.setenv("MIKE_DOCS_VERSION", version)
    hook = runpy.run_path(str(DOCS / "menu_and_search.py"))["on_config"]
    config = hook({"extra": {"version": {"provider": "mike"}}})
    assert ("version" in config["extra"]) == bool(version)


def test_the_picture_of_a_plan_calls_what_there_is() -> None:
    drawn = (DOCS / "plan.svg").read_text()
    calls = re.findall(r">(\w+)(?:\(\S+\))?\(\w+, plan", drawn)
    assert len(calls) == drawn.count(", plan")
    assert {*calls} <= {*bm.__all__, *bm.fields.__all__}


def test_figures_of_guides_are_those_of_the_script_and_all_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
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
        page = f"{command}.md"
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


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=name)
def test_what_stands_under_a_command_says_where_it_is_from(page: Path) -> None:
    text = page.read_text()
    infos = re.findall(r"^ *```bash\n(?:(?! *```).*\n)* *```\n\n *```text(.*)", text, re.MULTILINE)
    for info in infos:
        assert re.fullmatch(r' title="(Output|Output, numbers vary|From a run .+)"', info), info


# what may stand behind `pip install`: this folder, an extra of what is installed, another's package
INSTALL = re.compile(r"pip install (?:-\S+ )*['\"]?([\w.{}]+)(?:\[([\w,-]+)\])?")


def test_all_say_the_same_about_installing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    found = 0
    for path in [ROOT / "README.md", *PAGES, *sources]:
        for what, extra in INSTALL.findall(path.read_text()):
            found += what in (".", "batchmix")
            assert {*extra.split(",")} - {""} <= {*extras}, f"{path}: no extra is called {extra}"
            assert what != "batchmix" or extra, f"{path}: batchmix itself is on no index"
            # what an extra has is installed by it: so the versions are those that are tested
            assert extra or what not in extras, f"{path}: write pip install 'batchmix[{what}]'"
    assert found > 10


def test_the_table_of_extras_has_all_that_users_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {"bench", "docs", "hosts", "test", "test-gpu"}  # of those who work on batchmix
    rows = re.findall(r"^\| `([\w-]+)` \|", (DOCS / "install.md").read_text(), re.MULTILINE)
    assert {*rows} == {*project["optional-dependencies"]} - ours


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
    """What a built page names, links to and loads, and the tables of parameters that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.classes: set[str] = set()
        # whose it is, and of each row of its table: name, type, description, default
        self.parameters: list[tuple[str, list[str]]] = []
        self._entry, self._row, self._cell = "", [""], False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.ids.add(found.get("id", ""))
        classes = found.get("class", "").split()
        self.classes |= set(classes)
        if "doc-heading" in classes:
            self._entry = found["id"]
        elif tag == "tr":
            self._row = []
        elif tag == "td":
            self._row.append("")
        self._cell = tag == "td" or (self._cell and tag != "tr")
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link":
            self.loads.append(found["href"])
        self.loads += [found[key] for key in ("src", "srcset", "poster", "data") if key in found]

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._row[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag != "td"
        if tag == "tr" and len(self._row) == 4:
            self.parameters.append((self._entry, [" ".join(cell.split()) for cell in self._row]))


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


def test_the_site_links_to_its_source_where_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from mkdocs.config import load_config

    told = {
        "BATCHMIX_SITE_URL": "https://example.org/docs/",
        "BATCHMIX_REPO_URL": "https://example.org/batchmix/",
        "BATCHMIX_EDIT_URI": "edit/main/docs/",
    }
    for variable in told:
        monkeypatch.delenv(variable, raising=False)
    config = load_config(str(ROOT / "mkdocs.yml"))
    assert [config.site_url, config.repo_url, config.edit_uri] == ["", "", None]
    for variable, value in told.items():
        monkeypatch.setenv(variable, value)
    config = load_config(str(ROOT / "mkdocs.yml"))
    assert [config.site_url, config.repo_url, config.edit_uri] == [*told.values()]


def _elsewhere(place: str) -> bool:
    """Whether an address is of another host."""
    return bool(urlsplit(place).netloc)


def _api(site: dict[Path, Page]) -> list[Page]:
    """The pages of the API, one for a module."""
    return [page for path, page in site.items() if "api" in path.parts]


def test_every_public_name_is_in_the_api(site: dict[Path, Page]) -> None:
    there = set().union(*(page.ids for page in _api(site)))
    modules = [getattr(bm, word) for word in bm.__all__ if inspect.ismodule(getattr(bm, word))]
    expected = {f"batchmix.{word}" for word in bm.__all__} - {m.__name__ for m in modules}
    for module in modules:
        for word, value in vars(module).items():
            if getattr(value, "__module__", "").startswith(module.__name__) and word[0] != "_":
                expected.add(f"{module.__name__}.{getattr(value, '__name__', word)}")
    for adapter in (ROOT / "src" / "batchmix" / "adapters").glob("[a-z]*.py"):
        listed = re.search(r"^__all__ = (\[.*?\])", adapter.read_text(), re.MULTILINE | re.DOTALL)
        if listed and adapter.stem != "composer_functional":  # in the one beside it
            expected |= {f"batchmix.adapters.{adapter.stem}.{w}" for w in literal_eval(listed[1])}
    assert expected <= there, f"docs/api/ lacks {sorted(expected - there)}"


def _signature(entry: str) -> inspect.Signature | None:
    """That of an entry of the API; None where its framework is not installed here."""
    try:
        return inspect.signature(pkgutil.resolve_name(entry))
    except AttributeError:
        assert entry.startswith("batchmix.adapters."), entry
        return None


def test_parameters_of_the_api_have_their_types_and_defaults(site: dict[Path, Page]) -> None:
    compared = 0
    for entry, (parameter, kind, _, default) in [p for page in _api(site) for p in page.parameters]:
        assert kind, f"{entry}: {parameter} has no type"
        assert re.fullmatch(r"\*{0,2}\w+", parameter), f"{entry}: {parameter} are several"
        if signature := _signature(entry):
            there = signature.parameters[parameter.lstrip("*")]
            needed = there.default is there.empty and there.kind.name[:4] != "VAR_"
            assert (default == "required") == needed, f"{entry}: {parameter} | {default}"
            compared += 1
    assert compared > 200


def test_links_of_the_readme_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text()):
        if not urlsplit(link).netloc:
            assert (ROOT / urlsplit(link).path).exists(), link
