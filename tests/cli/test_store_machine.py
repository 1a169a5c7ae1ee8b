"""The store of trials, whatever ends a run, and whoever else has written into its file."""

import dataclasses
import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import standin
from batchmix import MixError
from batchmix.cli._lock import locked
from batchmix.cli.lab.outcome import Trial
from batchmix.cli.lab.trials import store as stores
from batchmix.cli.lab.trials.store import Store, configuration
from checks import RUNS

CONFIG = configuration(standin.data(), standin.TRAINING, None)
OTHERS = [
    configuration(standin.data(fingerprint="xyz"), standin.TRAINING, None),
    configuration(standin.data(), dataclasses.replace(standin.TRAINING, lr=0.2), None),
    configuration(standin.data(), standin.TRAINING, 4),
]
TRIALS = st.builds(
    Trial, st.sampled_from(["none", "mixup:1", "ü\n\u2028\udcff"]), st.sampled_from([0.0, 0.4]),
    st.integers(0, 2),
)  # fmt: skip
NO_JSON = [b"half a li", b"", b"\0" * 9, b"[" * 9999, b"\xff\xfe{", b"[1]", b"1" * 5000, b"NaN"]
NO_TRIAL = [
    b'{"format": 1}', b'{"format": 2, "trial": {}}', b'{"format": 1, "trial": 3}', b"{}",
    b'{"format": 1, "trial": {"arm": "none", "what": 1}}',
]  # fmt: skip


class Storing(RuleBasedStateMachine):
    """`lines` are the outcomes that were kept, in the order in which they came."""

    @initialize()
    def begin(self):
        self.out = Path(tempfile.mkdtemp())
        self.path = self.out / "trials.jsonl"
        self.lines, self.store = [], Store(self.out, CONFIG)

    def teardown(self):
        if hasattr(self, "out"):
            shutil.rmtree(self.out)

    def content(self):
        """The file, if nobody else writes into it."""
        objects = [CONFIG, *({"format": 1} | each.as_json() for each in self.lines)]
        return b"".join(json.dumps(each).encode() + b"\n" for each in objects)

    @invariant()
    def kept(self):
        if not hasattr(self, "store"):
            return
        assert self.store.outcomes == {each.trial: each for each in self.lines}
        if self.lines:
            assert self.path.read_bytes() == self.content()
        else:  # at most a first line, whole or not
            assert not self.path.exists() or self.content().startswith(self.path.read_bytes())

    def refused(self, match, config=CONFIG):
        """The file stays as it is."""
        before = self.path.read_bytes()
        with pytest.raises(MixError, match=match) as error:
            Store(self.out, config)
        assert "--out" in str(error.value)
        assert self.path.read_bytes() == before

    # what runs do ------------------------------------------------------------------------------

    @rule(trial=TRIALS, note=st.text(max_size=5))
    def add(self, trial, note):
        """A trial that is there already is replaced."""
        self.lines.append(standin.outcome(trial, note=note))
        self.store.add(self.lines[-1])

    @rule(again=st.booleans())
    def open_again(self, again):
        with locked(self.out):
            self.store = Store(self.out, CONFIG)
            if again:  # as tune does, before the search and after it
                self.store = Store(self.out, CONFIG)
        assert not (self.out / ".lock").exists()

    @rule()
    def second_run(self):
        """Another process is refused while this one holds the folder."""
        with locked(self.out):
            pid = os.fork()
            if not pid:
                try:
                    locked(self.out).__enter__()
                except MixError as error:
                    os._exit(7 if f"process {os.getppid()} on" in str(error) else 8)
                finally:
                    os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert (self.out / ".lock").exists()

    @rule(config=st.sampled_from(OTHERS))
    def another_comparison(self, config):
        if self.lines:
            self.refused("trials of another comparison", config)
        else:  # a run without a trial binds nobody
            assert Store(self.out, config).outcomes == {}

    # what breaks -------------------------------------------------------------------------------

    @rule(cut=st.integers(2, 3000), zeros=st.booleans(), end=st.booleans())
    def crash(self, cut, zeros, end):
        """The end of the last line never came to the disk, or as zeros."""
        if not self.lines:
            return
        whole, _ = self.content(), self.lines.pop()
        cut = min(cut, len(whole) - len(self.content()))
        self.path.write_bytes(whole[:-cut] + b"\0" * (cut - end) * zeros + b"\n" * end * zeros)
        self.store = Store(self.out, CONFIG)

    @rule(cut=st.integers(1, 3000))
    def crash_in_the_first_line(self, cut):
        if not self.lines:
            self.path.write_bytes(self.content()[:-cut])
            self.store = Store(self.out, CONFIG)

    @rule(
        trial=TRIALS,
        error=st.sampled_from([OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), MemoryError()]),
        call=st.sampled_from(["fsync", "write"]),
    )
    def failed_write(self, trial, error, call):
        """What was kept is as it was, and the same store goes on."""

        def fails(*args):
            raise error

        with pytest.MonkeyPatch.context() as patch:
            if call == "fsync":
                patch.setattr(stores.os, "fsync", fails)
            else:
                patch.setattr(Path, "open", _half_written(Path.open, error))
            kind = MixError if isinstance(error, OSError) else type(error)
            with pytest.raises(kind) as caught:
                self.store.add(standin.outcome(trial))
        if isinstance(error, OSError):
            assert f"{len(self.store.outcomes)} trials are kept" in str(caught.value)

    @rule(line=st.sampled_from(NO_JSON + NO_TRIAL), at=st.integers(0, 9))
    def foreign_line(self, line, at):
        """It is named, and the user takes it out again."""
        if not self.lines:
            return
        lines = self.content().splitlines(keepends=True)
        at = min(at, len(lines))
        last = at == len(lines)
        self.path.write_bytes(b"".join([*lines[:at], line + b"\n", *lines[at:]]))
        if last and line in NO_JSON:  # as a crash may leave it
            self.store = Store(self.out, CONFIG)
        else:
            other = "|trials of another comparison" if at == 0 else ""
            self.refused(f"line {at + 1} of .*trials.jsonl cannot be read" + other)
            self.path.write_bytes(self.content())

    @rule(content=st.sampled_from([b"my own notes", b"a,b\n1,2\n", b"\x89PNG\r\n", b"\n\n"]))
    def foreign_file(self, content):
        self.path.write_bytes(content)
        self.refused("line 1 of")
        self.path.write_bytes(self.content() if self.lines else b"")


def _half_written(real, error):
    """Files that take half of what is written, and fail."""

    class Half:
        def __init__(self, *args):
            self.file = real(*args)

        def __enter__(self):
            return self

        def __exit__(self, *why):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            raise error

    return lambda path, mode: (Half if mode == "ab" else real)(path, mode)


Storing.TestCase.settings = RUNS
# beside threads of torch, and where another test has imported JAX
TestStoring = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")(
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")(Storing.TestCase)
)
