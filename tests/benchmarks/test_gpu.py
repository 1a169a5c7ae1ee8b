"""`benchmarks/gpu.py` on tiny batches, on the CPU: that it runs and is right, not how fast."""

import json

import numpy as np
import pytest
import torch
import typer

import cases as c
import gpu
import peers
from on_gpu import batches, in_jax, measure, mixing, parts, training
from on_gpu.goals import GOALS
from on_gpu.stopwatch import Plain
from ours import SWITCH
from report import Report
from tables import targets

QUICK = ["main", "policies", "normalize", "labels", "shapes", "small"]
CPU = measure.Setting("cpu", True, 0.0, Plain())
SAYS = "TRIED ON A CPU"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Of one run of the quick parts."""
    out = tmp_path_factory.mktemp("gpu")
    gpu.bench(quick=True, device="cpu", only=QUICK, seconds=0.0, out=out)
    assert not (out / "gpu.json").exists()
    text = (out / "gpu-tried-on-cpu.json").read_text()
    assert str(out) not in text
    return json.loads(text)


def lines(content):
    """All of them."""
    return gpu.report_of(content, content["runs"]).lines


def test_every_line_is_right_or_says_why_it_is_not_there(content):
    assert content["machine"]["gpu"] is None
    assert {*content["parts"]} == {*QUICK}
    assert not [part for part in content["parts"].values() if "failed" in part]
    for line in lines(content):
        if line.failed:
            assert line.failed == "not installed", line
            continue
        assert line.ms["min"] <= line.median
        assert line.check is None or line.check["right"], line
        if line.library == "batchmix" and line.work != "draw a plan":
            assert line.check, line


def test_every_library_has_a_line(content):
    found = {line.library for line in lines(content)}
    assert {"batchmix", "limit", "timm", "torchvision", "kornia", "DALI", "torch.compile"} <= found


def test_every_target_names_lines_that_there_are(content):
    there = {(line.group, line.library, line.work, line.how) for line in lines(content) if line.ms}
    groups = {line.group for line in lines(content)}
    libraries = {line.library for line in lines(content) if line.ms}
    for goal in GOALS:
        for find in (goal.ours, goal.other):
            if find.group in groups and find.library in libraries:
                name = (find.group, find.library, find.work)
                hows = [how for *where, how in there if tuple(where) == name]
                assert any(how == find.how or find.how.endswith("*") for how in hows), goal.says
    assert len({goal.says for goal in GOALS}) == len(GOALS)


def test_no_target_is_judged_by_a_cpu(content, capsys):
    gpu.show(gpu.report_of(content, content["runs"]), "cpu")
    gpu.end(content)
    text = capsys.readouterr().out
    assert SAYS in text
    assert "GPU ms" not in text
    grid = targets(Report.of({**content, "runs": []}), GOALS)
    assert {row[2] for row in grid.rows} == {"not measured"}
    report = Report({}, lines(content))
    assert {goal.measured(report) for goal in GOALS} == {None}


def test_targets_are_hit_and_missed_on_a_gpu():
    def report_of(copy, ours):
        shape = {"threads": 1, "allocator": "warm", "shape": list(parts.MAIN.shape), "bytes": 1}
        mixed = line("batchmix", c.ROWS, "new array, pixels only", ours)
        cases = [line("limit", "limit", "copy: torch copy_", copy), mixed]
        return Report.of({"runs": [{**shape, "group": parts.MAIN.group, "cases": cases}]})

    def line(library, work, how, ms):
        times = {"median": ms, "q1": ms, "q3": ms, "min": ms, "samples": 5}
        return {"library": library, "work": work, "how": how, "ms": times, "host_ms": 1.0}

    for ours, result in ((13.0, "hit"), (14.0, "missed")):
        grid = targets(report_of(10.0, ours), GOALS, "device time")
        assert "device time" in grid.title
        assert grid.rows[0][3] == result
        assert {row[2] for row in grid.rows[1:]} == {"not measured"}


def test_a_part_that_fails_is_a_line_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    written = []

    def broken(setting):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        yield

    def next_one(setting):
        written.append(json.loads((tmp_path / "gpu-tried-on-cpu.json").read_text()))
        yield measure.measured(setting, table([]))

    monkeypatch.setattr(gpu, "ALL", {"broken": broken, "next": next_one})
    gpu.bench(device="cpu", out=tmp_path)
    assert written[0]["parts"]["broken"]["failed"] == "out of memory"  # kept before the next began
    content = json.loads((tmp_path / "gpu-tried-on-cpu.json").read_text())
    assert [run["group"] for run in content["runs"]] == ["a table"]
    assert "part broken failed: out of memory" in capsys.readouterr().out


def test_after_its_minutes_no_part_is_begun(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "ALL", {"labels": parts.labels})
    gpu.bench(device="cpu", minutes=0.0)
    assert "part labels failed: not begun: 0 minutes were over" in capsys.readouterr().out


def test_what_an_interrupted_run_has_is_kept(monkeypatch, tmp_path, capsys):
    def stopped(setting):
        raise KeyboardInterrupt
        yield

    class Exited(Exception):
        pass

    def leave(code):
        raise Exited(code)

    monkeypatch.setattr(gpu.os, "_exit", leave)
    monkeypatch.setattr(gpu, "ALL", {"labels": parts.labels, "stopped": stopped})
    with pytest.raises(Exited, match="130"):
        gpu.bench(device="cpu", out=tmp_path)
    assert "has the parts before it" in capsys.readouterr().err
    content = json.loads((tmp_path / "gpu-tried-on-cpu.json").read_text())
    assert [*content["parts"]] == ["labels"]


def test_what_cannot_be_asked_for(tmp_path):
    with pytest.raises(typer.BadParameter, match="parts are main, normalize"):
        gpu.bench(device="cpu", only=["mian"])
    if not torch.cuda.is_available():
        with pytest.raises(typer.BadParameter, match="sees no GPU"):
            gpu.bench()
    (tmp_path / "file").write_text("")
    with pytest.raises(typer.BadParameter, match="cannot be written"):
        gpu.bench(device="cpu", only=["labels"], out=tmp_path / "file" / "folder")


def test_the_command_has_no_paths(tmp_path):
    words = gpu._command(True, "cpu", ["main"], 0.5)
    assert words == "benchmarks/gpu.py --quick --device cpu --only main --seconds 0.5"
    assert gpu._command(False, "cuda", [], None) == "benchmarks/gpu.py"


def table(found, batch=None):
    """Of these lines."""
    batch = batch or batches.batch(parts.sized(CPU, parts.MAIN), "cpu")
    return measure.Table(
        "a table", (6, 3, 16, 16), 9216, batches.ROUNDING["bfloat16"], batch, found
    )


def test_a_line_that_fails_says_why():
    tries = []

    def late():
        tries.append(1)
        if len(tries) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried")

    def missing():
        raise ModuleNotFoundError("No module named 'kornia'", name="kornia")

    calls = {"late": late, "missing": missing, "good": lambda: None}
    found = [(c.Case("library", "work", how, call),) for how, call in calls.items()]
    run = measure.measured(CPU, table([*found, measure.Absent("DALI", "not installed")]))
    told = {line["how"]: line.get("failed") for line in run["cases"]}
    why = {"late": "out of memory", "missing": "not installed (no module kornia)", "good": None}
    assert told == why | {"-": "not installed"}
    assert [line["how"] for line in run["cases"] if "ms" in line] == ["good"]


def test_a_line_that_is_wrong_is_told(monkeypatch):
    batch = batches.batch(parts.sized(CPU, parts.MAIN), "cpu")
    right = mixing.mixer(batch, inplace=False)
    seen = right.seen()
    for spoiled in (seen.pixels + 0.01, torch.full_like(seen.pixels, np.nan)):
        wrong = c.Mixed(spoiled, seen.plan, seen.labels)
        case = c.Case("batchmix", "work", "how", lambda: None, lambda wrong=wrong: wrong)
        (line,) = measure.measured(CPU, table([(case,)], batch))["cases"]
        assert not line["check"]["right"]
    (line,) = measure.measured(CPU, table([(right,)], batch))["cases"]
    assert line["check"]["right"]


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(peers, "load", lambda name: "ModuleNotFoundError: No module named 'x'")
    batch = batches.batch(parts.sized(CPU, parts.MAIN), "cpu")
    found = parts._others([batch], parts.LIBRARIES)
    assert found == [measure.Absent(name, "not installed") for name in parts.LIBRARIES]
    assert [how for _, how, _ in training._mixes()] == ["no mixing", "Mixer", "Mixer, in place"]


def test_a_plan_buffer_is_used_where_there_is_one(monkeypatch):
    """As it will be called: a plan that lies on the device, and that another is written over."""
    from batchmix.adapters import torch as adapter

    class Buffer:
        def __init__(self, plan, device):
            self.plan, self.device = plan, device

        def fill(self, plan):
            self.plan = plan

    monkeypatch.setattr(adapter, "PlanBuffer", Buffer)
    batch = batches.batch(parts.sized(CPU, parts.MAIN), "cpu")
    run = measure.measured(CPU, table([(mixing.resident(batch),)], batch))
    assert run["cases"][0]["check"]["right"]
    from on_gpu import replay

    monkeypatch.setattr(replay, "captured", lambda work, device: (lambda: None, work()))
    (_, case) = replay._mixing(batch)
    assert not measure.measured(CPU, table([(case,)], batch))["cases"][0]["check"]["right"]

    def redone(work, device):
        results = [v.clone() for v in work()]
        return lambda: [old.copy_(new) for old, new in zip(results, work())], results

    monkeypatch.setattr(replay, "captured", redone)
    (_, case) = replay._mixing(batch)
    assert measure.measured(CPU, table([(case,)], batch))["cases"][0]["check"]["right"]


def test_without_a_gpu_a_graph_is_a_line_that_says_so():
    from on_gpu import replay

    (run,) = replay.graph(CPU)
    failed = [line["failed"] for line in run["cases"] if "failed" in line]
    assert failed
    assert all("no GPU" in why for why in failed)


def test_a_batch_is_not_all_alike_and_its_out_is_not_its_x():
    kind = parts.sized(CPU, parts.MAIN)
    one, two = batches.sets(kind, "cpu")
    assert not torch.equal(one.x, two.x)
    assert not torch.equal(one.x, one.out)
    assert torch.equal(one.x, one.work)
    assert one.x.abs().max() <= 1
    last = batches.batch(parts.sized(CPU, parts.LAYOUTS[0]), "cpu")
    assert last.x.is_contiguous(memory_format=torch.channels_last)
    assert last.work.stride() == last.x.stride() == last.out.stride()


def test_sizes_are_those_of_the_layout():
    video, audio = (batches.batch(parts.sized(CPU, kind), "cpu") for kind in parts.OTHERS)
    assert video.size == {"H": 16, "W": 16}
    assert audio.size == {"T": 8}
    assert [kind.shape for kind in parts.OTHERS] == [(32, 3, 16, 112, 112), (256, 1, 160_000)]
    case = mixing.step(audio, c.ROWS, "new array", SWITCH, mixing.Derangement())
    assert case.seen().plan.axes == "T"


def test_the_page_names_every_part_and_every_target():
    text = (gpu.HERE / "README.md").read_text().partition("## On a GPU")[2].partition("<!--")[0]
    assert all(f"`{name}`" in text for name in gpu.ALL)
    for goal in GOALS:
        assert f"{'≤' if goal.at_most else '≥'} {goal.goal:g} |" in text, goal.says
    assert ("**Not yet measured.**" in text) != (gpu.HERE / "gpu.json").exists()


def test_jax_has_a_process_of_its_own(monkeypatch, tmp_path):
    pytest.importorskip("jax")
    (run,) = in_jax.jax(CPU)
    assert {line["library"] for line in run["cases"]} == {"limit", "JAX", "batchmix"}
    for line in run["cases"]:
        assert "ms" in line, line
        assert line["library"] == "limit" or line["check"]["right"], line
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("raise ImportError('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match="ended with code 1: ImportError: broken"):
        list(in_jax.jax(CPU))
