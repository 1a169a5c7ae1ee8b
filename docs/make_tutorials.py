"""Makes the pages of tutorials and examples from the programs: python docs/make_tutorials.py

A program of examples/seeds is a notebook as text: "# %%" begins a cell, "# %% [markdown]" one of
words (jupytext's "py:percent"). Each becomes a page and a notebook to download, with what it
printed when it was last run, which is kept in examples/seeds/printed. With `--run timm` one is run
anew instead, by the Python that runs this, and what it prints and draws is kept.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = ROOT / "docs" / "tutorials"
SEEDS = ROOT / "examples" / "seeds"
EXAMPLES = ROOT / "docs" / "examples.md"


@dataclass(frozen=True)
class Tutorial:
    """A program, its title, and its arguments as the page and the notebook run it."""

    script: str
    title: str
    words: str = "--out figures"
    shape: str = ".chart"  # of its figures, for docs/style.css

    @property
    def source(self) -> str:
        return (SEEDS / f"{self.script}.py").read_text(encoding="utf-8")

    @property
    def printed(self) -> Path:
        return SEEDS / "printed" / f"{self.script}.txt"

    @property
    def command(self) -> str:
        return f"python examples/seeds/{self.script}.py {self.words}".rstrip()


TUTORIALS = {
    "timm": Tutorial("timm_tutorial", "timm: Mixup and CutMix"),
    "fastai": Tutorial("fastai_deep_dive", "fastai: mixup deep dive"),
    "keras": Tutorial("keras_mixup", "Keras: MixUp", "--figure keras-mixed.png", ".square"),
    "datarax": Tutorial("datarax_tutorial", "Datarax: MixUp and CutMix"),
    "composer": Tutorial("composer_tutorial", "Composer: CutMix", ""),
}


def described(source: str) -> tuple[str, str]:
    """What a program is, in a sentence, and what it needs."""
    text = ast.get_docstring(ast.parse(source)) or ""
    found = re.search(r"\bneeds (.+?)\.?$", text, re.IGNORECASE | re.MULTILINE)
    return text.partition("\n")[0].strip(), found[1].strip() if found else ""


def cells(source: str) -> list[tuple[str, str]]:
    """The kind and text of each cell after the docstring; raw ones are for the program alone."""
    import jupytext  # --run is called where the program's own needs are installed

    found = jupytext.reads(source, fmt="py:percent").cells[1:]
    return [(cell.cell_type, cell.source) for cell in found]


def page(name: str) -> str:
    """The page of a tutorial."""
    one = TUTORIALS[name]
    says, needs = described(one.source)
    parts = [
        f"# {one.title}",
        says,
        f"[Download as a notebook]({name}.ipynb){{ .md-button }}\n"
        f"[The original, line by line](index.md#{name}){{ .md-button }}",
        f"Needs {needs}.",
    ]
    for kind, text in cells(one.source):
        if kind == "raw":
            parts += [
                _block("bash", one.command),
                _block('text title="From a run of the program"', _kept(one)),
            ]
        elif kind == "markdown":
            parts.append(re.sub(r"(!\[[^\]]*\]\([^)]*\))", rf"\1{{ {one.shape} }}", text))
        elif "IPython" not in text and not text.startswith("main("):
            parts.append(_block("py", text))
    return "\n\n".join(parts) + "\n"


def notebook(name: str) -> str:
    """The same as a notebook: links and figures are left out, as running it draws them."""
    one = TUTORIALS[name]
    says, needs = described(one.source)
    made = [_cell("markdown", f"# {one.title}\n\n{says}\n\nNeeds {needs}.")]
    for kind, text in cells(one.source):
        if kind == "markdown":
            text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", text)
            made.append(_cell("markdown", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)))
        elif kind == "code":
            made.append(_cell("code", text))
    (last,) = [cell for cell in made if re.search(r"^main\(", "".join(cell["source"]), re.M)]
    last["outputs"] = [{"name": "stdout", "output_type": "stream", "text": _lines(_kept(one))}]
    for k, cell in enumerate(made):
        cell["id"] = f"cell-{k}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str) -> dict[str, object]:
    """A cell as nbformat 4.5 has it."""
    made: dict[str, object] = {"cell_type": kind, "metadata": {}, "source": _lines(text)}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _lines(text: str) -> list[str]:
    return text.strip("\n").splitlines(keepends=True)


def _kept(one: Tutorial) -> str:
    """What the program printed when it was last run."""
    return one.printed.read_text(encoding="utf-8").rstrip()


def _block(words: str, text: str) -> str:
    return f"```{words}\n{text.rstrip()}\n```"


def examples() -> str:
    """The page of all examples: a table, then each program whole."""
    head = (
        "# Examples\n\nShort programs for the libraries that batchmix works with. Each runs as it "
        "stands, on data that it makes\nor that comes with scikit-learn. The tests run all of "
        "them.\n\n"
        "The five [tutorials](tutorials/index.md) are longer, and show figures.\n\n"
        "| program | what it shows | page |\n|---|---|---|"
    )
    table, programs = [], []
    for path in sorted((ROOT / "examples").glob("*.py")):
        says, needs = described(path.read_text(encoding="utf-8"))
        table.append(f"| [`{path.name}`](#{path.stem}) | {says} | {_named_in(path)} |")
        programs.append(
            f"## {path.name} {{ #{path.stem} }}\n\n{says}"
            + (f" Needs {needs}." if needs else "")
            + "\n\n"
            + _block("py", _code(path))
        )
    return "\n".join([head, *table]) + "\n\n" + "\n\n".join(programs) + "\n"


def _named_in(path: Path) -> str:
    """Links to the pages of a program: those that name it, and that of its library."""
    used = re.findall(r"batchmix\.adapters\.(\w+)", path.read_text(encoding="utf-8"))
    own, found = {path.stem.partition("_")[0], *used}, []
    docs = ROOT / "docs"
    for there in [*sorted(docs.glob("*.md")), *sorted((docs / "kinds").glob("*.md"))]:
        text = there.read_text(encoding="utf-8")
        if there != EXAMPLES and (there.stem in own or f"examples/{path.name}" in text):
            title = text.partition("\n")[0].removeprefix("# ")
            found.append(f"[{title}]({there.relative_to(docs).as_posix()})")
    return ", ".join(found)


def _code(path: Path) -> str:
    """A program without its docstring, which the page says in words."""
    text = path.read_text(encoding="utf-8")
    end = ast.parse(text).body[0].end_lineno or 0
    return "\n".join(text.splitlines()[end:]).strip("\n")


def made() -> dict[Path, str]:
    """Every generated page and notebook."""
    files = {EXAMPLES: examples()}
    for name in TUTORIALS:
        files[HERE / f"{name}.md"] = page(name)
        files[HERE / f"{name}.ipynb"] = notebook(name)
    return files


def run(name: str) -> None:
    """Runs a tutorial and keeps what it prints and draws."""
    one = TUTORIALS[name]
    words = one.command.replace("--out figures", "--out .").split()[1:]
    done = subprocess.run(
        [sys.executable, str(ROOT / words[0]), *words[1:]], cwd=HERE, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    one.printed.write_text(done.stdout.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=TUTORIALS, help="run this tutorial anew")
    wanted = parser.parse_args().run
    if wanted:
        run(wanted)
    for path, text in ({} if wanted else made()).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
