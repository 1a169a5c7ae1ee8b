"""From an address to what the page shows, without a server and without Gradio."""

import base64
import io
import re
import shlex
import shutil
import subprocess
import sys
from urllib.parse import parse_qsl

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import wavfile

import batchmix as bm
from batchmix.cli import main
from batchmix.cli._forms import FORMS
from batchmix.cli._words import parse
from batchmix.cli.explore import _render, open_sources
from batchmix.cli.explore._render import render
from batchmix.cli.explore._view import RANGES, View
from batchmix.cli.show import pictures

VIEWS = [
    View(),
    View("photos", policy="mixup", a=0.35, prob=0.5, seed=3, step=7, rows=8),
    View("photos", policy="cutmix", a=2, per="pair", pairing="reverse", first=5, rows=9),
    View("photos", policy="switch", per="batch", pairing="roll", rows=4, seed=1),
    View("sounds", policy="cutmix", pairing="permutation", rows=6, step=2),
    View("sounds", policy="mixup", prob=0.25, per="batch", rows=5),
]


def images_of(html):
    """The mixed images of a page, as pixels."""
    found = re.findall(r'<figure class="mixed"><div class="cell"><img[^>]*base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def clips(html):
    """The mixed sounds of a page, as (rate, samples)."""
    found = re.findall(r'<audio[^>]*base64,([^"]+)"', html)
    return [wavfile.read(io.BytesIO(base64.b64decode(data))) for data in found]


def run_code(code):
    """The names that a program leaves."""
    names = {}
    exec(compile(code, "copied", "exec"), names)
    return names


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.query() or "default")
def test_the_code_makes_what_the_page_shows(view, sources):
    answer = render(view, sources)
    names = run_code(answer.code)
    assert len(names["mixed"]) == view.rows
    if sources[view.data].form == "image":
        shown = np.stack(images_of(answer.cards))
    else:
        assert {rate for rate, _ in clips(answer.cards)} == {1000}
        shown = np.stack([clip for _, clip in clips(answer.cards)])
    assert shown.dtype == names["mixed"].dtype
    assert (shown == names["mixed"].squeeze(-1 if names["mixed"].shape[-1] == 1 else ())).all()
    assert (names["targets"] == answer.shown.soft).all()
    assert (names["plan"].lam == answer.shown.plan.lam).all()


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.query() or "default")
def test_the_command_line_makes_what_the_page_shows(view, sources, tmp_path, monkeypatch):
    answer = render(view, sources)
    seen = []
    monkeypatch.setattr(pictures, "rows", lambda title, shown: seen.extend(shown) or b"")
    monkeypatch.setattr(pictures, "alphas", lambda *_: b"")
    monkeypatch.setattr(pictures, "labels", lambda *_: b"")
    program, *words = shlex.split(answer.command)
    assert program == "batchmix"
    with pytest.raises(SystemExit) as stop:
        main([*words, "--out", str(tmp_path)])
    assert stop.value.code == 0
    assert (seen[0].mixed == answer.shown.mixed).all()
    assert (seen[0].soft == answer.shown.soft).all()


views = st.builds(
    View,
    data=st.sampled_from(["digits", "a & b=c", "ä"]),
    policy=st.sampled_from(["mixup", "cutmix", "switch"]),
    per=st.sampled_from(["row", "batch"]),
    pairing=st.sampled_from(["derangement", "permutation", "reverse", "roll"]),
    **{
        name: (st.floats if name in ("a", "b", "prob") else st.integers)(low, high)
        for name, (low, high, _) in RANGES.items()
    },
)


@settings(max_examples=50, deadline=None)
@given(views)
def test_an_address_leads_back_to_its_view(view):
    assert View.read(dict(parse_qsl(view.query()))) == view


def test_every_policy_of_the_command_line_fits_the_page():
    for name, form in FORMS.items():
        assert len(form.numbers) <= 2
        assert isinstance(View(policy=name).entry.policy, type(parse(form.example)[0].policy))


def test_a_view_at_its_defaults_has_a_bare_address_and_themes_are_not_settings():
    assert View().query() == ""
    assert View.read({"__theme": "dark", "seed": "4"}) == View(seed=4)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"alpha": "1"}, "alpha: got '1'. An address has data, first, rows, policy"),
        ({"policy": "cutmx"}, f"policy: got 'cutmx'. It is one of {', '.join(FORMS)}."),
        ({"a": "0"}, "a: got '0'. It is a number in 0.05..8."),
        ({"a": "nan"}, "a: got 'nan'."),
        ({"seed": "1.5"}, "seed: got '1.5'. It is a whole number in 0..100."),
        ({"rows": "1000000"}, "rows: got '1000000'. It is a whole number in 2..32."),
        ({"prob": "much"}, "prob: got 'much'. It is a number in 0..1."),
        ({"per": "pair"}, "Choose the pairing 'reverse'"),
    ],
)
def test_an_address_that_no_view_has(query, says):
    with pytest.raises(bm.MixError) as error:
        View.read(query)
    assert says in " ".join(str(error.value).split())


@pytest.mark.parametrize("data", ["/etc", "..", "photos/../..", "", "/etc/passwd"])
def test_only_the_data_given_are_shown(data, sources):
    with pytest.raises(bm.MixError, match=r"This page shows digits, photos, sounds\."):
        render(View(data=data), sources)


def test_a_link_out_of_the_folder_is_refused(images_linked):
    with pytest.raises(bm.MixError, match="a link to a file outside of the folder"):
        open_sources([str(images_linked)])


@pytest.fixture
def images_linked(folders, tmp_path):
    """A folder in which one image lies elsewhere."""
    for name in ("one", "two"):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "in" / name / "0.png")
    (tmp_path / "in" / "two" / "1.png").symlink_to(folders / "photos" / "ant" / "0.png")
    return tmp_path / "in"


def test_two_folders_of_one_name_are_both_shown(folders, tmp_path):
    other = shutil.copytree(folders / "photos", tmp_path / "photos")
    assert list(open_sources([str(folders / "photos"), str(other)])) == [
        "digits",
        "photos",
        str(other),
    ]


def test_the_label_is_the_measured_share_of_the_picture(sources):
    answer = render(View(policy="cutmix", rows=32), sources)
    widths = re.findall(r'<i class="own" style="width:([\d.]+)%"', answer.cards)
    own = [answer.shown.soft[i, y] for i, y in enumerate(answer.shown.batch.y)]
    assert np.allclose([float(w) / 100 for w in widths], own, atol=1e-4)


def test_names_of_classes_cannot_write_the_page(sources):
    cards = render(View("photos", rows=24), sources).cards
    assert "cat &amp; dog" in cards
    assert "cat & dog" not in cards


def test_a_step_is_another_mix_of_the_same_rows(sources):
    first, second = (render(View(step=step), sources) for step in (0, 1))
    assert (first.shown.batch.x == second.shown.batch.x).all()
    assert (first.shown.mixed != second.shown.mixed).any()
    assert first.cards != second.cards


def test_what_is_remembered_does_not_go_stale(sources):
    for view in (View(a=4, policy="mixup"), View(a=0.1, policy="mixup"), VIEWS[1], VIEWS[4]):
        fresh = render(view, sources)
        _render._chosen.cache_clear()
        _render._lam.cache_clear()
        assert render(view, sources)[1:] == fresh[1:]


def test_the_histogram_counts_every_row(sources):
    shares = re.findall(r"<title>([\d.]+)% of rows", render(View(), sources).spread)
    assert sum(map(float, shares)) == pytest.approx(100, abs=1.5)
    assert render(View(prob=0), sources).spread.count("100.0% of rows") == 1


def test_the_page_is_made_without_gradio():
    code = (
        "import sys; sys.modules['gradio'] = None\n"
        "from batchmix.cli.explore import open_sources\n"
        "from batchmix.cli.explore._render import render, View\n"
        "render(View(rows=2), open_sources([]))\n"
        "from batchmix.cli import main\n"
        "main(['explore'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "batchmix: explore: gradio is not installed. The page is made with it. "
        "pip install 'batchmix[explore]'\n"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["./nowhere"], "'./nowhere' is not a folder."),
        (["--port", "0"], "--port"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explore", *words])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert says in error
    assert error.count("\n") == 1
