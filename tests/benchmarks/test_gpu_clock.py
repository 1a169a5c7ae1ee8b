"""The clock of a device, with a device of paper; what a trace says; a training step."""

import pytest
import torch

import cases as c
from on_gpu import measure, stopwatch, trace, training
from on_gpu.printed import notes
from on_gpu.stopwatch import Plain, Queue, turning

CPU = measure.Setting("cpu", True, 0.0, Plain())


@pytest.fixture
def paper(monkeypatch):
    """A device that takes 1 ms for each thing that is launched, and events that read its clock."""
    done = [0]

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = done[0]

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return float(end.at - self.at)

    def launched(*_, **__):
        done[0] += 1

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch, "sum", launched)
    return launched


def test_time_is_that_of_the_calls_and_not_of_what_fills_the_queue(paper):
    queue = Queue("cpu", room=4)
    assert queue.fill_seconds == pytest.approx(1e-3)
    case = c.Case("library", "work", "how", paper)
    queue.prepared(case)
    assert 1 <= queue.samples[case].calls <= 8
    assert queue.samples[case].fills >= 1
    assert queue(case) == pytest.approx(1e-3)
    assert len(queue.host(case)) >= 5


def test_a_slow_host_gets_time_to_launch(paper, monkeypatch):
    """A call of 3 ms of the host, behind fillers of 1 ms each: half as long again."""
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])

    def slow():
        now[0] += 3e-3

    queue = Queue("cpu", room=4)
    case = c.Case("library", "work", "how", slow)
    queue.prepared(case)
    assert queue.samples[case] == stopwatch._Sample(calls=1, fills=6)


def test_results_are_kept_until_the_sample_ends(paper):
    """Else the allocator gives each call the memory of the one before, which is in the cache."""
    alive, most = [0], [0]

    class Result:
        def __init__(self):
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    queue = Queue("cpu", room=4)
    case = c.Case("library", "work", "how", Result)
    queue.samples[case] = stopwatch._Sample(calls=4, fills=1)
    queue(case)
    assert (most[0], alive[0]) == (4, 0)


def test_no_batch_comes_twice_in_a_row():
    seen = []
    given = [c.Case("l", "w", "h", lambda k=k: seen.append(k)) for k in range(3)]
    for start in range(4):
        case = turning(given, start)
        seen.clear()
        for _ in range(4):
            case.call()
        assert seen == [(start + k) % 3 for k in range(4)]


def event(cat, ts, dur, name="", tid=1, **args):
    """One of a trace."""
    where = {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 1, "tid": tid}
    return where | {"args": args}


def test_a_trace_says_whose_kernels_ran_how_long():
    events = [
        event("user_annotation", 0, 100, "mixing"),
        event("gpu_user_annotation", 500, 60, "mixing"),
        event("cuda_runtime", 10, 5, correlation=1),
        event("cuda_driver", 20, 5, correlation=2),  # a launch of Triton
        event("cuda_runtime", 50, 5, tid=2, correlation=3),  # another thread
        event("cuda_runtime", 150, 5, correlation=4),
        event("kernel", 1000, 100, "mixed", tid=7, correlation=1),
        event("gpu_memcpy", 1100, 20, "plan", tid=7, correlation=2),
        event("kernel", 1200, 300, "forward", tid=7, correlation=4),
        event("kernel", 1400, 200, "on another stream", tid=8, correlation=3),
        {"ph": "i", "name": "no span", "ts": 3},
    ]
    found = trace.share(events, "mixing", 2)
    assert found == trace.Share(part=0.06, all=0.31, step=0.3, idle=0.04, launches=1.0)
    assert trace.share(events[:6], "mixing", 2) is None


def tiny(setting):
    """In place of a ResNet."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(c.CLASSES))
    model(torch.zeros(1, 3, 16, 16))
    return training.Net(model, torch.optim.SGD(model.parameters(), lr=0.1), setting.device)


def test_a_step_with_and_without_mixing(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "net", tiny)
    setting = measure.Setting("cpu", True, 0.0, Plain(), tmp_path)
    (run,) = training.step(setting)
    assert run["group"] != training.GROUP  # which a target names
    hows = {line["how"]: line for line in run["cases"]}
    assert {"no mixing", "Mixer", "Mixer, in place"} <= {*hows}
    assert not [line for line in run["cases"] if "failed" in line]
    assert run["waits"] == "not measured: no GPU"
    for how, name in (("with", "step.trace.json.gz"), ("without", "unmixed.trace.json.gz")):
        assert run["traces"][how] == {"file": name, "share": None}
        names = {one.get("name") for one in trace.load(tmp_path / name)}
        assert training.MIXING in names


@pytest.mark.parametrize("launches", [0.0, 2.0])
def test_the_share_of_a_step_is_that_of_the_trace(monkeypatch, launches):
    """A trace without a launch of mixing was not understood: it is no hit of the target."""
    monkeypatch.setattr(training, "net", tiny)
    read = trace.Share(part=0.5, all=90.0, step=100.0, idle=10.0, launches=launches)
    monkeypatch.setattr(trace, "share", lambda *_: read)
    (run,) = training.step(CPU)
    found = {line["how"]: line["ms"]["median"] for line in run["cases"] if "ms" in line}
    assert found.get(training.KERNELS) == (0.5 if launches else None)
    said = " ".join(notes({"parts": {}, "runs": [run]}))
    assert ("no launch of mixing" in said) == (not launches)
    assert ("(0.5 %) in 2 launches; the device idles 10 ms" in said) == bool(launches)


def test_a_net_learns():
    train = tiny(CPU)
    x, y = torch.randn(6, 3, 16, 16), torch.arange(6)
    losses = [float(train(x, y)) for _ in range(5)]
    assert losses[-1] < losses[0]
