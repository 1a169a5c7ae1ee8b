"""From an address to what the page shows, without a server."""

import base64
import gc
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import weakref
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
from batchmix.cli.explore import _scene, open_sources
from batchmix.cli.explore._code import written
from batchmix.cli.explore._own import MOST_PICTURES, MOST_SETS, SIDE, Own
from batchmix.cli.explore._policies import PARTNERS, POLICIES
from batchmix.cli.explore._render import download, render
from batchmix.cli.explore._spread import lines
from batchmix.cli.explore._view import ALPHAS, CHOICES, RANGES, TICKS, View, read
from batchmix.cli.show import pictures

VIEWS = [
    {"data": "digits"},
    {"data": "digits", "policy": "cutmix", "versus": "mixup", "c": "0.3", "smooth": "0.1"},
    {"data": "drawn", "policy": "mixup", "a": "0.35", "prob": "0.5", "seed": "3", "step": "7"},
    {"data": "drawn", "policy": "cutmix", "a": "2", "per": "pair", "pairing": "reverse",
     "first": "5", "rows": "9"},
    {"data": "drawn", "per": "batch", "pairing": "roll", "rows": "4", "seed": "1"},
    {"data": "sounds", "policy": "cutmix", "pairing": "permutation", "rows": "6", "step": "2"},
    {"data": "sounds", "policy": "mixup", "prob": "0.25", "per": "batch", "rows": "5"},
]  # fmt: skip


def named(query):
    return "-".join(query.values())


def images_of(html):
    """The mixed images of a page, as pixels."""
    found = re.findall(r'<figure class="mixed"><div [^>]*><img[^>]*base64,([^"]+)"', html)
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


@pytest.mark.parametrize("query", VIEWS, ids=named)
def test_the_code_makes_what_the_page_shows(query, sources):
    answer = render(query, sources)
    one, view = answer.shown[0], answer.view
    names = run_code(answer.code)
    assert not answer.notes
    assert len(names["mixed"]) == view.rows
    if sources[view.data or "digits"].form == "image":
        shown = np.stack(images_of(answer.cards))[:: len(answer.shown)]
    else:
        assert {rate for rate, _ in clips(answer.cards)} == {1000}
        shown = np.stack([clip for _, clip in clips(answer.cards)])
    assert shown.dtype == names["mixed"].dtype
    assert (shown == names["mixed"].squeeze(-1 if names["mixed"].shape[-1] == 1 else ())).all()
    assert (names["targets"] == one.soft).all()
    assert (names["plan"].lam == one.plan.lam).all()


@pytest.mark.parametrize("query", VIEWS, ids=named)
def test_the_command_line_makes_what_the_page_shows(query, sources, tmp_path, monkeypatch):
    answer = render(query, sources)
    seen = []
    monkeypatch.setattr(pictures, "rows", lambda title, shown: seen.extend(shown) or b"")
    monkeypatch.setattr(pictures, "alphas", lambda *_: b"")
    monkeypatch.setattr(pictures, "labels", lambda *_: b"")
    program, *words = shlex.split(answer.command)
    assert program == "batchmix"
    with pytest.raises(SystemExit) as stop:
        main([*words, "--out", str(tmp_path)])
    assert stop.value.code == 0
    for drawn, shown in zip(seen, answer.shown, strict=True):
        assert (drawn.mixed == shown.mixed).all()
        assert (drawn.soft == shown.soft).all()


@pytest.mark.parametrize("data", ["photos", "digits", "sounds"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_shown_or_said_why_not(policy, data, sources):
    answer = render({"data": data, "policy": policy, "rows": "6"}, sources)
    (control,) = [one for one in answer.controls if one["name"] == "policy"]
    refused = {word for word, _, why in control["choices"] if why}
    if policy in refused:
        assert data == "sounds"
        assert answer.view.policy == "mixup"
        assert f"{POLICIES[policy].title}: " in answer.notes[0]
        assert answer.notes[0].endswith("MixUp is shown instead.")
        return
    assert answer.view.policy == policy
    names = run_code(answer.code)
    assert (names["mixed"] == answer.shown[0].mixed).all()
    changed = (names["mixed"] != names["x"]).any()
    assert changed == (policy != "none")
    # the words of the command line are the same policy, and it is silent where it has none
    assert bool(answer.command) == POLICIES[policy].word


@pytest.mark.parametrize("data", ["photos", "sounds"])
@pytest.mark.parametrize("pairing", PARTNERS)
@pytest.mark.parametrize("per", CHOICES["per"])
def test_no_choice_is_a_dead_end(per, pairing, data, sources):
    """Whatever is chosen last holds, unless it is refused with a reason."""
    query = {"data": data, "per": per, "pairing": pairing, "rows": "6"}
    by_pairing = render(query, sources, moved="pairing")
    by_per = render(query, sources, moved="per")
    assert by_pairing.view.pairing == pairing
    assert by_per.view.per == per
    if per == "pair" and pairing != "reverse":
        assert by_pairing.view.per == "row"
        assert by_per.view.pairing == "reverse"
        assert by_pairing.notes
        assert by_per.notes
    else:
        assert not by_per.notes
    for answer in (by_per, by_pairing):
        assert answer.cards.count("<li ") == 6
        assert (run_code(answer.code)["mixed"] == answer.shown[0].mixed).all()


views = st.builds(
    View,
    data=st.sampled_from(["digits", "a & b=c", "ä"]),
    policy=st.sampled_from(["mixup", "cutmix", "switch"]),
    versus=st.sampled_from(["", "mixup", "none"]),
    per=st.sampled_from(["row", "batch"]),
    pairing=st.sampled_from(list(PARTNERS)),
    **{
        name: (st.floats if name in (*"abcd", "prob", "smooth") else st.integers)(low, high)
        for name, (low, high, _) in RANGES.items()
    },
)


@settings(max_examples=50, deadline=None)
@given(views)
def test_an_address_leads_back_to_its_view(view):
    once, notes = read(dict(parse_qsl(view.query())))
    assert not notes
    assert read(dict(parse_qsl(once.query()))) == (once, [])
    for name, value in vars(view).items():
        near = pytest.approx(value, abs=1e-4) if isinstance(value, float) else value
        assert getattr(once, name) == near


def test_every_policy_of_the_command_line_is_on_the_page():
    assert set(FORMS) <= {word for word, one in POLICIES.items() if one.word}
    assert all(len(one.numbers) <= 2 for one in POLICIES.values())


def test_a_view_at_its_defaults_has_a_bare_address(sources):
    assert View().query() == ""
    assert render({}, sources).view.query() == ""
    assert render({"data": next(iter(sources))}, sources).view.query() == ""


@pytest.mark.parametrize(
    ("query", "says", "shown"),
    [
        ({"mixup": "99"}, "The address has 'mixup', which is no setting of this page.", {}),
        ({"policy": "cutmx"}, "Policy 'cutmx' is not known: it is 'switch' now.",
         {"policy": "switch"}),
        ({"a": "20"}, "The policy's number takes 0.05 to 8: '20' became 8.", {"a": 8}),
        ({"a": "0"}, "The policy's number takes 0.05 to 8: '0' became 0.05.", {"a": 0.05}),
        ({"a": "nan"}, "The policy's number 'nan' is not a number: it is 0.8 now.", {"a": 0.8}),
        ({"policy": "columns", "a": "8"}, "takes 0.05 to 1: '8' became 1.", {"a": 1}),
        ({"seed": "1.5"}, "Seed takes whole numbers 0 to 100: '1.5' became 2.", {"seed": 2}),
        ({"rows": "1000000"}, "Rows takes whole numbers 2 to 32: '1000000' became 32.",
         {"rows": 32}),
        ({"prob": "much"}, "Probability 'much' is not a number: it is 1 now.", {"prob": 1}),
        ({"per": "pair"}, "partners are 'reverse' now.", {"pairing": "reverse", "per": "pair"}),
        ({"data": "/etc"}, "Data '/etc': this page shows photos, digits, drawn, sounds.", {}),
        ({"data": "own-0"}, "held in memory, and are gone", {}),
        ({"data": "sounds", "policy": "mosaic"}, "Mosaic: Four quadrants need two axes.",
         {"policy": "mixup"}),
        ({"data": "sounds", "versus": "classmix"}, "It is not compared.", {"versus": ""}),
        ({"data": "sounds", "first": "900"}, "These data have 24 rows", {"first": 23}),
    ],
)  # fmt: skip
def test_what_is_corrected_is_said_and_the_controls_show_it(query, says, shown, sources):
    answer = render(query, sources)
    assert any(says in note for note in answer.notes)
    at = {one["name"]: one["value"] for one in answer.controls}
    for name, value in shown.items():
        assert at[name] == value == getattr(answer.view, name)
    assert answer.cards
    assert not render(dict(parse_qsl(answer.view.query())), sources).notes


@pytest.mark.parametrize("data", ["/etc", "..", "drawn/../..", "/etc/passwd"])
def test_only_the_data_given_are_shown(data, sources):
    answer = render({"data": data}, sources)
    assert answer.view.data == ""
    assert answer.cards == render({}, sources).cards


def test_a_link_out_of_the_folder_is_refused(images_linked):
    with pytest.raises(bm.MixError, match="a link to a file outside of the folder"):
        open_sources([str(images_linked)])


@pytest.fixture
def images_linked(folders, tmp_path):
    """A folder in which one image lies elsewhere."""
    for name in ("one", "two"):
        (tmp_path / "in" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "in" / name / "0.png")
    (tmp_path / "in" / "two" / "1.png").symlink_to(folders / "drawn" / "ant" / "0.png")
    return tmp_path / "in"


def test_two_folders_of_one_name_are_both_shown(folders, tmp_path):
    other = shutil.copytree(folders / "drawn", tmp_path / "drawn")
    found = open_sources([str(folders / "drawn"), str(other)])
    assert list(found) == ["photos", "digits", "drawn", str(other)]


def test_a_folder_that_is_called_train_is_named_by_the_one_above(folders, tmp_path):
    shutil.copytree(folders / "drawn", tmp_path / "cifar" / "train")
    assert list(open_sources([str(tmp_path / "cifar" / "train")]))[-1] == "cifar"


def test_the_label_is_the_measured_share_of_the_picture(sources):
    answer = render({"policy": "cutmix", "rows": "32", "data": "digits"}, sources)
    widths = re.findall(r'<i class="own" style="width:([\d.]+)%"', answer.cards)
    one = answer.shown[0]
    own = [one.soft[i, y] for i, y in enumerate(one.batch.y)]
    assert np.allclose([float(w) / 100 for w in widths], own, atol=1e-4)


def test_names_of_classes_cannot_write_the_page(sources):
    cards = render({"data": "drawn", "rows": "24"}, sources).cards
    assert "cat &amp; dog" in cards
    assert "cat & dog" not in cards
    assert 'a "bee"' not in cards


def test_every_picture_is_described(sources):
    """With row, partner and share; the mixed one with its whole label."""
    answer = render({"policy": "cutmix", "rows": "4"}, sources)
    alts = re.findall(r'role="img" aria-label="([^"]+)"', answer.cards)
    one = answer.shown[0]
    assert len(alts) == 16
    for row in range(4):
        own, theirs, pasted, mixed = alts[4 * row : 4 * row + 4]
        partner = int(one.plan.partner[row])
        assert own == f"row {row + 1}, {one.batch.name(row)}"
        assert theirs == f"its partner: row {partner + 1}, {one.batch.name(partner)}"
        assert pasted == f"pasted: {1 - one.plan.lam[row]:.0%}"
        assert all(f"{part.name} {part.share:.0%}" in mixed for part in one.parts(row))


def test_a_step_is_another_mix_of_the_same_rows(sources):
    first, second = (render({"step": step}, sources) for step in "01")
    assert (first.shown[0].batch.x == second.shown[0].batch.x).all()
    assert (first.shown[0].mixed != second.shown[0].mixed).any()


def test_two_policies_have_the_same_rows_and_partners(sources):
    answer = render({"policy": "cutmix", "versus": "mixup", "c": "0.4"}, sources)
    one, other = answer.shown
    assert (one.plan.partner == other.plan.partner).all()
    assert (one.mixed != other.mixed).any()
    names = run_code(answer.code)
    assert (names["mixed"] == one.mixed).all()
    assert (names["other_mixed"] == other.mixed).all()
    assert (names["other_targets"] == other.soft).all()
    alone = render({"policy": "mixup", "a": "0.4"}, sources).shown[0]
    assert (other.mixed == alone.mixed).all()


def test_alpha_moves_by_about_the_same_ratio():
    ratios = np.array(ALPHAS[1:]) / ALPHAS[:-1]
    assert (ratios > 1.15).all()
    assert (ratios < 1.55).all()
    assert set(TICKS) <= set(ALPHAS)
    assert (ALPHAS[0], ALPHAS[-1]) == RANGES["a"][:2]


@pytest.mark.parametrize("size", [(8, 8), (192, 192), (930,)])
@pytest.mark.parametrize("word", ["mixup", "dominant", "cutmix", "inside", "switch", "remix"])
@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_the_lines_are_what_is_counted(word, alpha, size):
    """The last one that is drawn over the histogram is the law of lam."""
    if word == "inside" and size == (8, 8):
        return  # sides are whole cells: few values of lam, and the line is of all of them
    policy = POLICIES["mixup" if word == "remix" else word]
    numbers = (alpha,) * len(policy.numbers)
    letters = "HW" if len(size) == 2 else "T"
    plan = bm.draw(policy.make(*numbers), bm.Key(1), 20_000, dict(zip(letters, size)))
    counted = np.cumsum(np.histogram(plan.lam, 24, (0, 1))[0]) / 20_000
    found = lines(word, numbers, 1.0, size)
    law = np.cumsum(list(found.values())[-1])
    assert law[-1] == pytest.approx(1)
    assert np.abs(counted - law).max() < (0.1 if size == (8, 8) else 0.03)
    half = lines(word, numbers, 0.5, size)["drawn"]
    assert half[-1] > 0.5
    assert half.sum() == pytest.approx(1)


def test_the_histogram_counts_every_row(sources):
    spread = render({}, sources).spread
    shares = re.findall(r"<title>([\d.]+)% of rows", spread)
    assert sum(map(float, shares)) == pytest.approx(100, abs=1.5)
    assert 'class="drawn"' in spread
    assert 'class="clipped"' in spread
    assert render({"prob": "0"}, sources).spread.count("100.0% of rows") == 1


def encoded(image, form="JPEG"):
    content = io.BytesIO()
    image.save(content, form)
    return base64.b64encode(content.getvalue()).decode()


def own_set(count=3, side=SIDE, name="<i>me"):
    pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)
    given = [{"name": name, "data": encoded(Image.fromarray(p), "PNG")} for p in pixels]
    return json.dumps(given).encode(), pixels


def test_own_pictures_are_mixed_and_their_code_reads_the_rows(sources, tmp_path, monkeypatch):
    own = Own()
    body, pixels = own_set()
    query = {"data": own.put(body), "policy": "cutmix", "versus": "classmix"}
    answer = render(query, sources, own)
    assert answer.view.rows == 3
    assert {p.tobytes() for p in answer.shown[0].batch.x} == {p.tobytes() for p in pixels}
    assert "&lt;i&gt;me" in answer.cards
    assert "<i>me" not in answer.cards
    assert answer.command == ""
    name, _, content = download("rows", query, sources, own)
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    names = run_code(answer.code)
    assert (names["mixed"] == answer.shown[0].mixed).all()
    assert (names["other_mixed"] == answer.shown[1].mixed).all()
    other = render(query, sources, Own())  # another process, or forgotten
    assert "gone" in other.notes[0]
    assert other.view.data == ""


def strange_folder(top, what):
    """Files that Pillow and SciPy alone do not read as the page does, or without classes."""
    rng = np.random.default_rng(0)
    folder = top if what == "flat" else top / "ant"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(4):
        if what == "8-bit sounds":
            wavfile.write(folder / f"{i}.wav", 1000, rng.integers(0, 256, 300, np.uint8))
        elif what == "16 bits":
            pixels = rng.integers(0, 65536, (9, 7)).astype(np.uint16)
            Image.fromarray(pixels).save(folder / f"{i}.png")
        else:
            channels = 4 if what == "transparent" else 3
            pixels = rng.integers(0, 256, (9, 7, channels), np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.mark.parametrize("what", ["transparent", "16 bits", "8-bit sounds", "flat"])
def test_the_code_reads_strange_files_as_the_page_does(what, tmp_path, monkeypatch):
    strange_folder(tmp_path / "strange", what)
    opened = open_sources([str(tmp_path / "strange")])
    query = {"data": "strange", "policy": "mixup"}
    answer = render(query, opened)
    name, _, content = download("rows", query, opened)
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    names = run_code(answer.code)
    assert (names["x"] == answer.shown[0].batch.x).all()
    assert (names["mixed"] == answer.shown[0].mixed).all()
    assert ("batchmix-rows.npz" in answer.code) == (what != "flat")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"nonsense", b"[" * 100_000, b'[{"name": 1}]', b"[1, 2]",
        own_set(1)[0], own_set(MOST_PICTURES + 1, 8)[0], own_set(2, SIDE + 1)[0],
        b'[{"name": "a", "data": "AAAA"}, {"name": "b", "data": "AAAA"}]',
        b'[{"name": "a", "data": "\xff"}, {"name": "b", "data": "AAAA"}]',
        json.dumps([{"name": "a", "data": encoded(Image.new("RGB", (SIDE, SIDE)), "GIF")}] * 2)
        .encode(),
    ],
)  # fmt: skip
def test_what_are_no_pictures_is_refused(body):
    own = Own()
    with pytest.raises(bm.MixError, match=r"your pictures: .*\nThey are 2 to 12"):
        own.put(body)
    assert not own._sets


def test_sets_of_pictures_are_bounded():
    own, body = Own(), own_set(2)[0]
    names = [own.put(body) for _ in range(MOST_SETS + 2)]
    assert len(set(names)) == len(names)
    assert [bool(own.get(name)) for name in names] == [False] * 2 + [True] * MOST_SETS


@pytest.mark.parametrize("query", [{}, {"policy": "mosaic", "data": "digits"}])
def test_downloads_hold_what_is_shown(query, sources, tmp_path):
    answer = render(query, sources)
    files = {kind: download(kind, query, sources) for kind in ("png", "plan", "rows", "code")}
    (tmp_path / files["plan"][0]).write_bytes(files["plan"][2])
    plan = bm.Plan.load(tmp_path / files["plan"][0])
    rows = np.load(io.BytesIO(files["rows"][2]))
    assert (bm.mix(rows["x"], plan, "NHWC") == answer.shown[0].mixed).all()
    assert files["code"][2].decode() == answer.code
    assert Image.open(io.BytesIO(files["png"][2])).size[0] > 500
    with pytest.raises(bm.MixError, match="It is one of png, plan, rows, code"):
        download("exe", query, sources)


def test_a_policy_is_written_without_its_defaults():
    for text in ("CutMix(0.8)", "MixUp(0.3, dominant=True)", "Layers([MixUp(1), CutMix(0.2)])",
                 "Mosaic('crop', beta=0.3)", "Sometimes(PerBatch(FMix()), 0.5)", "Roll(2)",
                 "CutMix(minmax=[0.2, 0.8])", "Derangement()"):  # fmt: skip
        value = eval(text, vars(bm.policies) | vars(bm.pairing))
        again = eval(written(value), vars(bm.policies) | vars(bm.pairing))
        assert again == value
        assert written(value).count("=") <= text.count("=")


def test_the_page_is_made_without_a_server():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from batchmix.cli.explore import open_sources\n"
        "from batchmix.cli.explore._render import render\n"
        "render({'rows': '2'}, open_sources([]))\n"
        "from batchmix.cli import main\n"
        "main(['explore'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "batchmix: explore: uvicorn is not installed. The page is served with it. "
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


def test_rows_of_the_past_are_not_held(folders):
    """What was found of rows goes with them; only a few sets of rows are kept."""
    source = open_sources([str(folders / "drawn")])["drawn"]
    scenes = []
    for first in range(8):
        for policy in ("saliencymix", "remix"):
            query = {"data": "drawn", "rows": "4", "first": str(first), "policy": policy}
            render(query, {"drawn": source})
        scenes.append(weakref.ref(_scene.scene(source, 4, first)))
    gc.collect()
    assert sum(one() is not None for one in scenes) <= _scene.scene.cache_info().maxsize
    for k in range(_scene._MOST_KEPT + 5):
        scene = _scene.scene(source, 4, 7)
        scene.once(lambda k=k: k, k)
    assert len(scene.kept) <= _scene._MOST_KEPT
