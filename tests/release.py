"""Makes a release of a clean checkout: `make release VERSION=0.1.0`. Nothing is sent anywhere.

    python tests/release.py VERSION PYTHON    PYTHON has the tools: see wheels.py

[Unreleased] of the changelog becomes the version, the version is written where it stands, the speed
of the last benchmark becomes a line of its history, sdist and wheel are built, looked at and tried,
and what was written is a commit with a tag.
"""

import datetime
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# file -> what the version and the date stand in, once each
PLACES = {
    "src/batchmix/__init__.py": [r'^__version__ = "(.*)"$'],
    "conda/meta.yaml": [r'^{% set version = "(.*)" %}$'],
    "CITATION.cff": [r"^version: (.*)$", r'^date-released: "(.*)"$'],
}
EMPTY = "## [Unreleased]\n\n"


class Refused(Exception):
    """What keeps a release from being made, as a sentence."""


def moved(changelog, version, date):
    """The changelog with what is unreleased under a version, and nothing under [Unreleased]."""
    before, mark, rest = changelog.partition(EMPTY)
    following = re.search(r"^(## \[|\[Unreleased\]: )", rest, re.M)
    last = re.search(r"^\[Unreleased\]: (.*/)compare/(.*)\.\.\.HEAD$", rest, re.M)
    if not (mark and following and last):
        raise Refused(
            "CHANGELOG.md needs '## [Unreleased]', an empty line, and its link at the end."
        )
    section, after = rest[: following.start()], rest[following.start() :]
    there = re.compile(rf"^## \[{re.escape(version)}\] - .*$", re.M)
    heading = f"## [{version}] - {date}"
    if there.search(after):  # such as the first one, which was written before
        if section.strip():
            raise Refused(f"CHANGELOG.md has {version} and lines under [Unreleased]: move them.")
        return before + mark + there.sub(heading, after)
    if not section.strip():
        raise Refused("CHANGELOG.md has nothing under [Unreleased].")
    links = (
        f"[Unreleased]: {last[1]}compare/v{version}...HEAD\n"
        f"[{version}]: {last[1]}compare/{last[2]}...v{version}"
    )
    return f"{before}{mark}{heading}\n\n{section}{after.replace(last[0], links)}"


def stamped(text, patterns, values):
    """A file with other values in the places that the patterns find."""
    for pattern, value in zip(patterns, values):
        found = [*re.finditer(pattern, text, re.M)]
        if len(found) != 1:
            raise Refused(f"{pattern} stands {len(found)} times where it stands once.")
        text = text[: found[0].start(1)] + value + text[found[0].end(1) :]
    return text


def git(*words):
    """What git says."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def release(version, tools):
    """All of it, in order; what is wrong is said before anything is written."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise Refused(f"got VERSION={version!r}: say for example make release VERSION=0.1.0.")
    if changed := git("status", "--porcelain"):
        raise Refused(f"the checkout is not clean:\n{changed}")
    if git("tag", "--list", f"v{version}"):
        raise Refused(f"there is a tag v{version} already.")
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    texts = {"CHANGELOG.md": moved(changelog, version, date)}
    for name, patterns in PLACES.items():
        texts[name] = stamped((ROOT / name).read_text(), patterns, (version, date))
    for name, text in texts.items():
        (ROOT / name).write_text(text)
    subprocess.run([sys.executable, "benchmarks/history.py", version], cwd=ROOT, check=True)
    subprocess.run([tools, "tests/wheels.py"], cwd=ROOT, check=True)
    git("add", *texts, "benchmarks/history.jsonl")
    if git("diff", "--cached", "--name-only"):  # else all of it said so already, as in 0.1.0
        git("commit", "--quiet", "--message", f"Version {version}")
    git("tag", "--annotate", f"v{version}", "--message", f"batchmix {version}")
    print(
        f"\nv{version} is made, and nothing was sent. To publish it:\n\n"
        f"  git push origin HEAD v{version}    (the workflows build the wheels and the docs)\n"
        f"  {Path(tools).with_name('twine')} upload FOLDER/batchmix-{version}*    (the sdist and "
        f"the wheels of the workflow, in a folder)\n\n"
        f"To undo it: git tag --delete v{version}, and drop the commit 'Version {version}'"
    )


if __name__ == "__main__":
    try:
        release(*sys.argv[1:3])
    except Refused as reason:
        sys.exit(f"release: {reason}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"release: {error}\n{error.stderr or ''}To undo what was written: git checkout .")
